"""A script that opens checkpoints with plain Keras: ``DIRPATH``, whose ``expected.npz`` holds the weights."""

import sys
from pathlib import Path

import keras
import numpy as np

sys.modules["ckpt_callbacks"] = None  # importing it fails from here on
dirpath = Path(sys.argv[1])
expected = list(np.load(dirpath / "expected.npz").values())


def check(model):
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), expected, strict=True))


full = keras.saving.load_model(dirpath / "full.keras")
check(full)
check(keras.saving.load_model(dirpath / "legacy.h5"))
fresh = keras.models.clone_model(full)
fresh.load_weights(dirpath / "weights.weights.h5")
check(fresh)
full.optimizer.learning_rate = 0.5
full.load_weights(dirpath / "weights.weights.h5")  # into a compiled model: its optimizer stays as it is
check(full)
assert float(keras.ops.convert_to_numpy(full.optimizer.learning_rate)) == 0.5
print("all opened")
