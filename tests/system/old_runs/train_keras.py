"""A tiny Keras script whose arithmetic is exact on every processor: ``DIRPATH [KILL_AT_STEP]``.

The loss is absolute and every factor a power of two, so that no float is ever rounded. It prints the final weights
and momenta.
"""

import os
import signal
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np

from ckpt_callbacks import Every, Improves, KeepBest, KeepLast, Metric, Patience, Policy
from ckpt_callbacks.keras import KerasCheckpoint

VAL = Metric("val_loss", mode="min")


class Killed(keras.callbacks.Callback):
    def __init__(self, step, checkpoint):
        super().__init__()
        self.step, self.checkpoint = step, checkpoint

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.optimizer.iterations.numpy()) == self.step:
            self.checkpoint.wait()
            os.kill(os.getpid(), signal.SIGKILL)


def train(dirpath, kill_at=None):
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)], name="integers")
    model.set_weights([np.array([[0.5], [-0.25], [1.0], [0.0]]), np.zeros(1)])
    model.compile(keras.optimizers.SGD(2**-6, momentum=0.5), loss="mean_absolute_error")
    x = np.array([[(i * j) % 5 - 2 for j in (1, 2, 3, 7)] for i in range(1, 25)], "float64")
    y = np.array([[i % 7 - 3] for i in range(24)], "float64")
    policy = Policy(
        Every(epochs=1) | Every(steps=2) | Improves(VAL),
        KeepLast(2) | KeepBest(1, by=VAL),
        Patience(VAL, checks=50),
    )
    checkpoint = KerasCheckpoint(dirpath, policy, metadata={"dataset": "integers"})
    extra = [Killed(kill_at, checkpoint)] if kill_at is not None else []
    model.fit(x, y, batch_size=4, epochs=5, verbose=0, validation_data=(x[:8], y[:8]), callbacks=[*extra, checkpoint])
    values = [*model.get_weights(), *(np.asarray(v) for v in model.optimizer.variables)]
    return [float(v).hex() for value in values for v in np.ravel(value)]


if __name__ == "__main__":
    keras.config.set_floatx("float64")
    print(",".join(train(sys.argv[1], *map(int, sys.argv[2:]))))
