"""The tests of this folder on torch, and tests that need a backend other than TensorFlow."""

import os
import subprocess
import sys

import pytest

from tests.adapters.keras.backends import run_on


@pytest.mark.slow
def test_everything_passes_on_torch():
    run_on("torch")


SAVES = """
import sys
import keras
from ckpt_callbacks import Every, KeepLast, Policy
from ckpt_callbacks.keras import KerasCheckpoint
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
checkpoint = KerasCheckpoint(sys.argv[1], Policy(Every(steps=1), KeepLast(1)))
model.fit(keras.ops.ones((4, 2)), keras.ops.ones((4, 1)), batch_size=1, verbose=0, callbacks=[checkpoint])
print("tensorflow" in sys.modules)
print(keras.saving.load_model(checkpoint.last().path).count_params())
"""


@pytest.mark.slow
def test_saves_do_not_import_tensorflow(tmp_path):
    """To serialize a model, Keras imports TensorFlow on every backend: several seconds, in the first save."""
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    command = [sys.executable, "-c", SAVES, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=120)
    assert done.stdout.split() == ["False", "3"]
