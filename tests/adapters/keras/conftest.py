"""The tests of this folder run on TensorFlow, and on the other backends in processes of their own beside them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OTHERS = ("torch", "jax") if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" else ()
FILES = ("saving", "staging", "resuming", "stopping", "bad_files", "models")


@pytest.fixture(scope="session", autouse=True)
def other_backends(request):
    """The running processes, by backend: begun with the first test of the folder, to be done with the last."""
    wanted = any(item.path.name == "test_torch_and_jax.py" for item in request.session.items)
    arguments = ["-m", "pytest", "-p", "no:cacheprovider", "-m", "not slow"]
    started = {
        backend: subprocess.Popen(
            [
                sys.executable,
                *arguments,
                *(HERE / f"test_{name}.py" for name in FILES),
            ],
            cwd=HERE.parents[2],
            env={**os.environ, "KERAS_BACKEND": backend},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for backend in (OTHERS if wanted else ())
    }
    yield started
    for process in started.values():
        process.kill()
        process.wait()
