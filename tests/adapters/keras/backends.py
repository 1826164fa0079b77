"""The tests of this folder on another Keras backend."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT

HERE = Path(__file__).parent
FILES = (
    "arguments", "saving", "staging", "resuming", "stopping", "stopping_data", "bad_files", "models", "optimizers",
    "private_names", "uncounted_state", "counting", "other_optimizers", "repeated_hooks", "metrics", "partial_metrics",
    "swapped_weights", "later_hooks", "callback_arrays", "structure", "changed_models", "dying_data",
)  # fmt: skip


def run_on(backend):
    """Run the tests of `FILES` in a process that uses ``backend``, and require that all pass."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "not slow"]
    done = subprocess.run(
        [*command, *(HERE / f"test_{name}.py" for name in FILES)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
