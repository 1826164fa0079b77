"""The tests of this folder on torch, and tests that need a backend other than TensorFlow."""

import os
import subprocess
import sys

import pytest

from tests.adapters.keras.backends import run_on


@pytest.mark.slow
def test_everything_passes_on_torch():
    run_on("torch")


PREPARES = """
import sys
import keras
from ckpt_callbacks.keras.staging import KerasStaging
KerasStaging().prepare(1 << 20, sys.argv[1])
print("tensorflow" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "imported"), [(".keras", "True"), (".weights.h5", "False")])
def test_keras_has_imported_what_it_will_before_the_first_save(suffix, imported):
    """To serialize a model, Keras imports TensorFlow on every backend: more than a second, in the first save."""
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    command = [sys.executable, "-c", PREPARES, suffix]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=120)
    assert done.stdout.split() == [imported]
