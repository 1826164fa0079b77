"""A slow training that wants a last save: ``DIRPATH SECONDS_A_BATCH``; says on standard output where it is."""

import sys
import time

import keras
from keras_adapter.task import checkpoint, fit, model, updates, weights

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy

pause = float(sys.argv[2])


class Slow(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        print("step", updates(self.model), flush=True)
        time.sleep(pause)

    def on_test_batch_begin(self, batch, logs=None):
        print("validation", updates(self.model), flush=True)
        time.sleep(pause)


trained = model()
callback = checkpoint(sys.argv[1], Policy(Every(epochs=1) | OnPreempt(), KeepAll()))
fit(trained, Slow(), callback, epochs=4)
print("weights", float(weights(trained).astype("float64").sum()))
