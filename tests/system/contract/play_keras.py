"""The curve in a real `model.fit`: ``KERAS_BACKEND=... python play_keras.py DIRPATH [drop]``."""

import logging
import sys

import keras
import numpy as np

from ckpt_callbacks.keras import KerasCheckpoint
from tests.system.contract.expected import BATCHES, CURVE
from tests.system.contract.play import POLICY, fail_every_second_time, report

messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger("ckpt_callbacks").addHandler(handler)
logging.getLogger("ckpt_callbacks").setLevel("INFO")


class FromCurve(keras.metrics.Metric):
    """A metric whose value is set from outside."""

    def __init__(self, name="score"):
        super().__init__(name=name, dtype="float64")
        self.value = self.add_variable(shape=(), initializer="zeros", name="value", dtype="float64")

    def update_state(self, y_true, y_pred, sample_weight=None):
        pass

    def reset_state(self):
        pass

    def result(self):
        return self.value * 1.0


class Feed(keras.callbacks.Callback):
    """A callback that sets the metric to the curve's next value when a validation begins."""

    epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        # float32 backends have rounded it on the way; the curve is meant to enter exactly
        assert np.isclose(logs["val_score"], CURVE[epoch], equal_nan=True)
        logs["val_score"] = CURVE[epoch]

    def on_test_begin(self, logs=None):
        score.value.assign(CURVE[self.epoch])


dirpath, drop = sys.argv[1], "drop" in sys.argv[2:]
score = FromCurve()
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse", metrics=[score])
if drop:
    fail_every_second_time()
# In the foreground, a failure is known before the next step.
callback = KerasCheckpoint(dirpath, POLICY, background=not drop)
x, y = np.ones((BATCHES, 2)), np.zeros((BATCHES, 1))
history = model.fit(
    x, y, batch_size=1, epochs=len(CURVE), verbose=0, callbacks=[Feed(), callback], validation_data=(x[:1], y[:1])
)
report(callback, len(history.epoch), messages)
