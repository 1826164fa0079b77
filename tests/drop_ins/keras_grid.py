"""Arguments and recorded logs for Keras' callbacks, and what each of them does with these."""

import contextlib
import io
import itertools
import random
import warnings
from pathlib import Path
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest

from ckpt_callbacks.formats.keras import archive as keras_zip
from ckpt_callbacks.formats.zip_member import open_member
from tests.drop_ins.keras_files import files_below, set_weight

NAN = float("nan")
BATCHES, EPOCHS = 5, 4
CHUNKS = 4  # of a grid, each of which is one test
# The value of the metric at the end of each epoch; None where it is not logged.
CURVES = {
    "falls": [4.0, 3.0, 2.0, 1.0],
    "rises": [1.0, 2.0, 3.0, 4.0],
    "stays": [2.0, 2.0, 2.0, 2.0],
    "turns": [3.0, 1.0, 2.0, 0.5],
    "infinite": [float("inf"), 2.0, float("-inf"), 1.0],
    "nan first": [NAN, 2.0, 1.0, 3.0],
    "nan later": [2.0, NAN, 1.0, NAN],
    "missing": [2.0, None, 1.0, None],
    "several": [np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([0.0, 0.0]), np.array([3.0, 3.0])],
}
PATHS = (
    "m.keras", "m.weights.h5", "m-{epoch:02d}.keras", "a/{epoch}/m-{val_loss:.2f}.weights.h5", "m-{batch}.keras",
    "m-{epoch}-{loss:.3f}-{unknown}.keras", "m.h5", "b/c/m.keras", "m-{epoch}-{loss}.weights.h5",
)  # fmt: skip


def checkpoint_cases(count):
    """Return ``count`` different cases of `ModelCheckpoint`, always the same ones."""
    axes = {
        "filepath": PATHS,
        "monitor": ("val_loss", "val_accuracy", "loss", "val_unknown"),
        "save_best_only": (True, False),
        "mode": ("auto", "min", "max", "least"),
        "save_freq": ("epoch", 1, 3, 5, 7),
        "initial_value_threshold": (None, 1.5),
        "verbose": (0, 1),
        "curve": tuple(CURVES),
    }
    return _some(axes, count)


def stopping_cases(count):
    """Return the same for `EarlyStopping`."""
    axes = {
        "monitor": ("val_loss", "val_accuracy", "val_unknown"),
        "min_delta": (0, 0.6, -0.6),
        "patience": (0, 1, 2),
        "mode": ("auto", "min", "max"),
        "baseline": (None, 1.5),
        "restore_best_weights": (True, False),
        "start_from_epoch": (0, 2),
        "verbose": (0, 1),
        "curve": tuple(CURVES),
    }
    return _some(axes, count)


def backup_cases(count):
    """Return the same for `BackupAndRestore`, with the number of batches after which the training is interrupted."""
    axes = {
        "save_freq": ("epoch", 1, 2, 3, 4),
        "double_checkpoint": (True, False),
        "delete_checkpoint": (True, False),
        "batches": (1, 2, 3, 4),
        "epochs": (1, 2, 3, 4),
        "interrupted": tuple(range(16)),
    }
    return [case for case in _some(axes, None) if case["interrupted"] < case["batches"] * case["epochs"]][:count]


def _some(axes, count):
    cases = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    random.Random(0).shuffle(cases)
    return cases[:count]


def parts(size):
    """Return a quick sample, a slow one, and the parts of the whole with ``size`` cases each."""
    whole = ((size * n, size * (n + 1)) for n in range(CHUNKS))
    return [
        pytest.param((0, 12), id="sample"),
        pytest.param((12, 112), id="tenth", marks=pytest.mark.slow),
        *(pytest.param(part, id=f"part{n}", marks=pytest.mark.soak) for n, part in enumerate(whole, 1)),
    ]


def play(make, model, curve, watch, *, epochs=EPOCHS):
    """Call the hooks of a callback as `fit` does, with recorded logs, and return what ``watch`` finds at each epoch.

    Args:
        make: Returns the callback.
        model: The model, whose weight becomes the number of the batch.
        curve: The name of the curve.
        watch: Called at each epoch's end with the callback.
        epochs: The number of epochs at most.

    Returns:
        The list of findings, the warnings, what was printed, and the error that ended the training, if any.
    """
    seen, error, printed = [], None, io.StringIO()
    model.stop_training = False
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        try:
            callback = make()
            hooks = keras.callbacks.CallbackList([callback], model=model, epochs=epochs, steps=BATCHES, verbose=0)
            hooks.on_train_begin()
            for epoch, value in enumerate(CURVES[curve][:epochs]):
                hooks.on_epoch_begin(epoch)
                for batch in range(BATCHES):
                    set_weight(model, epoch * BATCHES + batch + 1)
                    hooks.on_train_batch_begin(batch)
                    hooks.on_train_batch_end(batch, {"loss": 9.0 - epoch - batch / 10, "accuracy": 0.5})
                logs = {"loss": 8.0 - epoch, "accuracy": epoch / 10}
                if value is not None:
                    logs |= {"val_loss": value, "val_accuracy": value}
                hooks.on_epoch_end(epoch, logs)
                seen.append(watch(callback))
                if model.stop_training:
                    break
            hooks.on_train_end()
            seen.append(watch(callback))
        except Exception as found:
            error = (type(found), str(found))
    told = [str(one.message) for one in warned if "__array__" not in str(one.message)]  # of TensorFlow
    return SimpleNamespace(seen=seen, warned=told, printed=printed.getvalue(), error=error)


def weights_in(folder):
    """Return the weight in each file below a folder, by its path."""
    return {name: _weight(Path(folder, name)) for name in files_below(folder)}


def _weight(path):
    if path.suffix == ".keras":
        with open_member(path, keras_zip.WEIGHTS) as member, h5py.File(member) as file:
            return _in(file)
    with h5py.File(path) as file:
        return _in(file)


def _in(file):
    found = []
    file.visititems(lambda name, item: found.append((name, item[()])) if _is_weight(name, item) else None)
    return [float(np.ravel(value)[0]) for _, value in found]


def _is_weight(name, item):
    return isinstance(item, h5py.Dataset) and "optimizer" not in name and item.shape == (1, 1)
