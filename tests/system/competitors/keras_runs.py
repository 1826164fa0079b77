"""Training runs with Keras' own callbacks, on the same task and from the same seed as this package's."""

import keras
import numpy as np

from tests.adapters.keras.task import digits, fit, quick


class Crash(keras.callbacks.Callback):
    """A callback that raises after the given batch of this `fit`."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise ZeroDivisionError("crash")


class Watch(keras.callbacks.Callback):
    """A callback that records the epochs that begin, and the learning rate at their ends."""

    def __init__(self):
        super().__init__()
        self.epochs, self.rates = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))


def fit_and_crash(batches, *callbacks, trained=None, **settings):
    """Train a new model until it crashes after a number of batches, and return it."""
    trained = trained or quick()
    try:
        fit(trained, Crash(batches), *callbacks, **settings)
    except ZeroDivisionError:
        return trained
    raise AssertionError("it did not crash")


def wrong_labels():
    """Return validation data on which a model gets worse as it learns."""
    _, (x, y) = digits()
    return x, (y + 1) % 10


def seeds(trained):
    """Return the states of the model's random layers."""
    weights = {id(variable) for variable in trained.non_trainable_weights}
    found = [v for v in trained.non_trainable_variables if id(v) not in weights]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in found]
