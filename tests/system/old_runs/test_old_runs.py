"""Run directories of an earlier version, which resume bit-identically.

`lightning/` and `keras/` were written by the commit before this package's modules were moved into rooms, by a run
killed with SIGKILL at step 15 of 30. `expected.json` holds the final weights and momenta of the same run when it
was never killed, as that commit computed them.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from ckpt_callbacks.record import attempt_framework
from ckpt_callbacks.store.manifest import Manifest
from tests.support.forks import forks_of

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())


@pytest.fixture(params=["lightning", "keras"])
def framework(request):
    return request.param


@pytest.fixture
def dirpath(framework, tmp_path):
    return shutil.copytree(HERE / framework, tmp_path / "run", symlinks=True)


def train(framework, dirpath):
    """Train to the end in a separate process, and return the final weights and momenta."""
    return forks_of().run(HERE / f"train_{framework}.py", dirpath).strip().splitlines()[-1].split(",")


def test_it_ends_as_the_run_that_was_never_killed(framework, dirpath):
    assert train(framework, dirpath) == EXPECTED[framework]
    first, second = Manifest.read(dirpath).attempts
    assert second.run == first.run and (first.number, second.number) == (1, 2)
    assert second.parent == max(r.id for r in Manifest.read(dirpath).records.values() if r.attempt == 1)
    assert "framework" not in first.facts and attempt_framework(first) == framework
    assert second.facts["framework"] == framework and second.facts["holder"] == first.facts["holder"]


@pytest.mark.slow
def test_a_new_run_ends_like_the_old_one(framework, tmp_path):
    assert train(framework, tmp_path) == EXPECTED[framework]


def test_the_other_frameworks_callback_is_refused(framework, dirpath):
    other = {"lightning": "keras", "keras": "lightning"}[framework]
    before = sorted(os.listdir(dirpath))
    done = forks_of().complete(HERE / f"train_{other}.py", dirpath)
    assert done.returncode == 1 and "holds a run of " in done.stderr.splitlines()[-1]
    assert sorted(os.listdir(dirpath)) == before
