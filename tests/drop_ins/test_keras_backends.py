"""The tests of the Keras drop-ins on the other backends."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drop_ins.keras_grid import CHUNKS
from tests.support.processes import ROOT

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
FILES = [
    HERE / f"test_keras_{name}.py"
    for name in ("model_checkpoint", "backup_and_restore", "early_stopping", "backup_grid")
]


def run(backend, *arguments):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT, env={**os.environ, "KERAS_BACKEND": backend}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_drop_ins_work_on_another_backend(backend):
    run(backend, "-m", "not slow and not soak", *FILES)


@pytest.mark.parametrize(
    "part", ["tenth", *(pytest.param(f"part{n + 1}", marks=pytest.mark.soak) for n in range(CHUNKS))]
)
def test_backups_are_compared_with_those_of_the_original(part):
    run("torch", HERE / "test_keras_backup_grid.py", "-k", part)
