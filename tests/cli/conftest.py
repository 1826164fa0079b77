"""Run directories for the tests of ``ckpt``."""

import shutil

import pytest

from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import train


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    dirpath = tmp_path_factory.mktemp("trained")
    train(dirpath)
    return dirpath


@pytest.fixture
def run_dir(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run", symlinks=True)


@pytest.fixture
def timed_dir(run_dir):
    """The run with these timings of its saves; the first one is from a version that did not measure them."""
    manifest = Manifest.read(run_dir)
    manifest.change(1, timings={})
    for id_, blocked in ((2, 4.0), (3, 0.25), (4, 0.5)):
        manifest.change(id_, timings={"blocked": blocked, "written": 2 * blocked, "verified": 3 * blocked})
    manifest.change(5, timings={"blocked": 100.0})
    return run_dir
