"""The tests of this folder run on TensorFlow; here they run on the other backends, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from keras_adapter.task import ONCE

HERE = Path(__file__).parent
FILES = [HERE / "test_saving.py", HERE / "test_resuming.py"]


@pytest.fixture(scope="module")
def runs():
    """Both at once: they spend their time on imports."""
    started = {
        backend: subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *FILES],
            cwd=HERE.parent.parent,
            env={**os.environ, "KERAS_BACKEND": backend},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for backend in ("torch", "jax")
    }
    yield started
    for run in started.values():
        run.kill()


@ONCE
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_it_does_the_same_on(backend, runs):
    output, _ = runs[backend].communicate(timeout=300)
    assert runs[backend].returncode == 0, output
