"""The best checkpoints as whole numbers: Keras loads them without this package, and the others stay whole."""

import shutil
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

from ckpt_callbacks import Contents, Every, KeepAll, Policy, Status
from ckpt_callbacks.keras.loading import load_verified
from tests.adapters.keras.task import checkpoint, digits, fit, quick
from tests.support.command import ckpt

PLAIN = """
import sys
import keras
model = keras.saving.load_model(sys.argv[1])
assert "ckpt_callbacks" not in sys.modules
print(keras.backend.standardize_dtype(next(layer.kernel.dtype for layer in model.layers if hasattr(layer, "kernel"))))
"""


def policy(dtype):
    return Policy(Every(epochs=1), KeepAll(contents=Contents("weights", dtype)))


def loss_of(path):
    with warnings.catch_warnings(record=True):  # Keras says that the optimizer has no state
        warnings.simplefilter("always")
        loaded = keras.saving.load_model(path)
    return loaded.evaluate(*digits()[1], verbose=0, return_dict=True)["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(("format", "dtype"), [(None, "int8"), (None, "int4"), ("h5", "int8")])
def test_keras_loads_and_evaluates_whole_numbers(tmp_path, caplog, format, dtype):
    ours = checkpoint(tmp_path, policy(dtype), format=format)
    fit(quick(units=32), ours, epochs=2)
    first, last = ours.records()
    assert [record.status for record in (first, last)] == [Status.THINNED, Status.VERIFIED]
    assert first.reduced["dtype"] == dtype and first.reduced["errors"]["tensors"] == 2
    name, absolute, share = first.reduced["errors"]["worst"][0]
    assert name.endswith("/kernel") and 0 < share < (0.005 if dtype == "int8" else 0.09) and absolute > 0
    assert loss_of(first.path) == pytest.approx(first.metrics["val_loss"], rel=0.01 if dtype == "int8" else 0.1)
    trained = quick(units=32)
    before = trained.get_weights()
    load_verified(trained, first, tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(before, trained.get_weights(), strict=True))
    assert f"its weights were not loaded: it holds them as {dtype}" in caplog.messages[-1]
    assert ckpt("verify", tmp_path).exit_code == 0 and not list(tmp_path.glob(".run/staging/*"))
    compared = ckpt("diff", first.path, last.path)
    assert compared.exit_code == 2 and f"{dtype} weights, so their weights cannot be compared" in compared.stderr
    copied = shutil.copy(first.path, tmp_path / f"copy{first.path.suffix}")
    assert ckpt("diff", first.path, copied).stdout.endswith(" unchanged\n")
    done = subprocess.run([sys.executable, "-c", PLAIN, first.path], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split()[-1:] == ["int8"], done.stderr


@pytest.mark.slow
def test_a_model_that_keras_cannot_quantize_stays_whole_with_a_line(tmp_path, caplog):
    images = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
    images.compile("adam", "mse", run_eagerly=True)
    (x, _), _ = digits()
    ours = checkpoint(tmp_path, policy("int8"))
    images.fit(x.reshape(-1, 8, 8, 1), x[:, :1], epochs=2, verbose=0, callbacks=[ours])
    assert [record.contents for record in ours.records()] == ["full", "full"]
    (line,) = [message for message in caplog.messages if "cannot be reduced" in message]
    assert "Keras quantizes only Dense, EinsumDense, Embedding layers of a model, and it has none" in line


def test_weights_without_their_model_stay_as_they_are(tmp_path, caplog):
    ours = checkpoint(tmp_path, policy("int8"), contents="weights")
    fit(quick(), ours, epochs=2)
    assert all(record.reduced == {} for record in ours.records())
    (line,) = [message for message in caplog.messages if "cannot be reduced" in message]
    assert "int8 needs the model, and a .weights.h5 file has only its weights" in line
