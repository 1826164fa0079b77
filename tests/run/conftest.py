"""Runs for the tests of this folder."""

import subprocess

import pytest

from tests.run.background import EACH
from tests.support.training import new_run, start


@pytest.fixture
def begin(tmp_path):
    """Return a function that begins a training run in ``tmp_path``."""
    runs = []

    def begin(policy=EACH, dirpath=tmp_path, clock=None, **given):
        run = new_run(dirpath, policy, **given, suffix=".raw", clock=clock)
        run.open()
        start(run)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        run.close()


@pytest.fixture
def undeletable(tmp_path):
    """Return functions that make a path immutable, append-only or a mount point, even for root, and that undo it."""
    undone = []

    def call(*command):
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{command[0]} does not work here: {done.stderr.strip()}")

    def make(path, how="immutable"):
        if how == "append-only":
            call("chattr", "+a", path)
            undone.append(lambda: call("chattr", "-a", path))
        elif how == "immutable":
            call("chattr", "+i", path)
            undone.append(lambda: call("chattr", "-i", *tmp_path.rglob(path.name)))  # it may have moved
        else:
            call("mount", "--bind", path, path)
            undone.append(lambda: call("umount", path))

    def undo():
        while undone:
            undone.pop()()

    yield make, undo
    undo()
