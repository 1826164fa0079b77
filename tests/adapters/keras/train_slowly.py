"""A slow training script: ``DIRPATH FACTS SECONDS_A_BATCH [WHOLE]``.

It writes a line of facts when an epoch begins or training ends.

With WHOLE, a second directory, the same training runs there again, from its beginning.
"""

import hashlib
import json
import sys
import time

import keras

from ckpt_callbacks import Every, Improves, KeepLast, Metric, Patience, Policy
from tests.adapters.keras.task import VAL, checkpoint, fit, model, updates, weights
from tests.support.training import run_of

EASY = Metric("val_loss", mode="min", min_delta=0.2)
POLICY = Policy(Every(epochs=1) | Improves(VAL), KeepLast(2), stop=Patience(EASY, checks=50))
EPOCHS = 4


class Watch(keras.callbacks.Callback):
    def __init__(self, checkpoint, facts, pause):
        super().__init__()
        self.checkpoint, self.facts, self.pause = checkpoint, facts, pause

    def on_train_batch_begin(self, batch, logs=None):
        time.sleep(self.pause)

    def on_epoch_begin(self, epoch, logs=None):
        self.write()

    def write(self):
        optimizer = self.model.optimizer
        moments = b"".join(keras.ops.convert_to_numpy(v).tobytes() for v in optimizer.variables)
        self.checkpoint.wait()
        tracks = run_of(self.checkpoint).state.tracks
        line = {
            "step": updates(self.model),
            "learning_rate": float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
            "moments": hashlib.sha256(moments).hexdigest(),
            "weights": hashlib.sha256(weights(self.model).tobytes()).hexdigest(),
            "best": tracks[POLICY.tracks[VAL]].best,
            "saved": tracks[POLICY.tracks[VAL]].saved,
            "stale": tracks[POLICY.tracks[EASY]].stale,
        }
        with open(self.facts, "a") as file:
            file.write(json.dumps(line) + "\n")


def train(dirpath, facts, pause=0.0):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.03, 3, 0.8)
    trained, callback = model(keras.optimizers.Adam(schedule)), checkpoint(dirpath, POLICY)
    watch = Watch(callback, facts, pause)
    fit(trained, watch, callback, epochs=EPOCHS)
    watch.write()


train(sys.argv[1], sys.argv[2], float(sys.argv[3]))
if len(sys.argv) > 4:
    train(sys.argv[4], sys.argv[4] + ".facts")
