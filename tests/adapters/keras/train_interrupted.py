"""A slow training script that saves on a signal: ``DIRPATH SECONDS_A_BATCH``. It prints its progress.

``SECONDS_A_SAVE`` and ``GRACE`` in the environment set the duration of its saves and its grace period.
"""

import os
import sys
import time

import keras

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from tests.adapters.keras.task import checkpoint, fit, model, updates, weights

pause = float(sys.argv[2])


class Slow(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        print("step", updates(self.model), flush=True)
        time.sleep(pause)

    def on_test_batch_begin(self, batch, logs=None):
        print("validation", updates(self.model), flush=True)
        time.sleep(pause)


class SlowToSave(keras.Sequential):
    def save(self, *arguments, **settings):
        print("save", updates(self), flush=True)
        time.sleep(float(os.environ.get("SECONDS_A_SAVE", 0)))
        super().save(*arguments, **settings)


made = model()
trained = SlowToSave(made.layers, name="digits")
trained.compile(made.optimizer, made.loss, metrics=["accuracy"], run_eagerly=True)
grace = float(os.environ.get("GRACE", 30))
callback = checkpoint(sys.argv[1], Policy(Every(epochs=1) | OnPreempt(), KeepAll()), grace=grace)
fit(trained, Slow(), callback, epochs=4)
print("weights", float(weights(trained).astype("float64").sum()))
