"""A small real task for the Keras tests: scikit-learn's digits, on the backend ``KERAS_BACKEND``."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from ckpt_callbacks import Every, Improves, KeepAll, Metric, Policy
from ckpt_callbacks.keras import KerasCheckpoint
from ckpt_callbacks.run import process_fits

BACKEND = keras.backend.backend()
VAL = Metric("val_loss", mode="min")
EACH_EPOCH = Policy(Every(epochs=1), KeepAll())
EACH_EPOCH_AND_STEP = Policy(Every(epochs=1) | Every(steps=3) | Improves(VAL), KeepAll())
ONCE = pytest.mark.skipif(BACKEND != "tensorflow", reason="the same on every backend")


def digits():
    x, y = load_digits(return_X_y=True)
    return (x[:64].astype("float32") / 16, y[:64]), (x[64:96].astype("float32") / 16, y[64:96])


def new_process():
    """Pretend to be a new process, in which `fit` has not been called."""
    process_fits._fits.clear()


def model(optimizer=None, *, built=True, seed=7, units=8, restart=True, **compiled):
    """Return a network with dropout and Adam, so that a resume needs every kind of state.

    It is the model of a script that has just been started; with ``restart=False``, one more model of that script.
    """
    if restart:
        new_process()
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(units, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(10, "softmax")]
    made = keras.Sequential([keras.Input((64,)), *layers] if built else layers, name="digits")
    settings = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **compiled}
    made.compile(optimizer or keras.optimizers.Adam(0.01), **settings)
    return made


def quick(**settings):
    """Return the same, without the compilation, which would take most of a test's time."""
    return model(run_eagerly=True, **settings)


def fit(trained, *callbacks, epochs=3, **settings):
    (x, y), val = digits()
    settings = {"batch_size": 16, "validation_data": val, "verbose": 0, **settings}
    return trained.fit(x, y, epochs=epochs, callbacks=list(callbacks), **settings)


def checkpoint(dirpath, policy=EACH_EPOCH, **settings):
    return KerasCheckpoint(dirpath, policy, **settings)


class Epochs(keras.callbacks.Callback):
    """Records which epochs are trained; the History of a resumed run also lists earlier epochs."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(epoch)


def epochs_of(trained, *callbacks, **settings):
    """Call `fit`, and return the epochs that it trained."""
    watch = Epochs()
    fit(trained, watch, *callbacks, **settings)
    return watch.seen


def weights(trained):
    return np.concatenate([np.ravel(w) for w in trained.get_weights()])


def same(a, b):
    return np.array_equal(weights(a), weights(b))


def updates(trained):
    return int(keras.ops.convert_to_numpy(trained.optimizer.iterations))
