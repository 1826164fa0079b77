"""Small models, recorded logs and files for the tests of the Keras drop-ins."""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np

from tests.adapters.keras.staged import contents


def tiny(*, trained=True):
    """Return a model with one weight. Keras knows the metrics of a model only when it has been trained."""
    keras.utils.set_random_seed(1)
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)], name="tiny")
    made.compile("sgd", "mse", metrics=["accuracy"], run_eagerly=True)
    if trained:
        made.fit(np.zeros((1, 1)), np.zeros((1, 1)), verbose=0)
    return made


def fit(model, *callbacks, epochs=3, **settings):
    """Train a model on two batches for each epoch. The loss falls."""
    x = np.ones((2, model.input_shape[-1]))
    settings = {"batch_size": 1, "verbose": 0, "validation_data": (x, np.zeros((2, 1))), **settings}
    return model.fit(x, np.zeros((2, 1)), epochs=epochs, callbacks=list(callbacks), **settings)


def set_weight(model, value):
    model.layers[0].kernel.assign([[value]])


def files_below(folder):
    """Return the path of each file below a folder, as text."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def same_contents(a, b):
    """Return whether two files of Keras hold the same, with the optimizer's state and the configuration."""
    return contents(Path(a)) == contents(Path(b))
