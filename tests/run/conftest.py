"""Runs for the tests of this folder."""

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
