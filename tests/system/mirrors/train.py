"""A training script with mirrors: ``FRAMEWORK DIRPATH MIRRORS EPOCHS [SECONDS_A_BATCH [WORKERS]]``.

It continues what the directory or the mirrors hold, prints its log, and at the end the SHA-256 of all that was trained.
MIRRORS is a list in JSON.
"""

import json
import logging
import os
import sys
import time

from ckpt_callbacks import Every, KeepBest, KeepLast, Metric, Policy
from tests.system.soak.digest import digest

VAL = Metric("val_loss", mode="min")
POLICY = Policy(Every(epochs=1) | Every(steps=4), KeepLast(2) | KeepBest(1, by=VAL))


def train_lightning(dirpath, mirrors, epochs, pause, workers):
    from functools import partial

    from lightning.pytorch.callbacks import Callback
    from torch.utils.data import DataLoader

    from tests.adapters.lightning.task import fit

    class Slow(Callback):
        def on_train_batch_start(self, trainer, *_):
            print("step", trainer.global_step, flush=True)
            time.sleep(pause)

    module, trainer, _ = fit(
        dirpath, POLICY, resume=True, extra=[Slow()], arguments={"mirrors": mirrors}, max_epochs=epochs,
        num_sanity_val_steps=0, loader=partial(DataLoader, num_workers=workers),
    )  # fmt: skip
    return digest([module.state_dict(), [one.state_dict() for one in trainer.optimizers]])


def train_keras(dirpath, mirrors, epochs, pause, workers):
    import keras

    from tests.adapters.keras.task import checkpoint, fit, quick, updates

    class Slow(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            print("step", updates(self.model), flush=True)
            time.sleep(pause)

    model = quick()
    fit(model, Slow(), checkpoint(dirpath, POLICY, mirrors=mirrors), epochs=epochs)
    return digest([model.get_weights(), [keras.ops.convert_to_numpy(one) for one in model.optimizer.variables]])


if __name__ == "__main__":
    framework, dirpath, mirrors, epochs, pause, workers, *_ = [*sys.argv[1:], "0", "0"]
    os.environ |= dict.fromkeys(("HF_HOME", "HF_XET_CACHE"), f"{dirpath}-hub")
    log = logging.getLogger("ckpt_callbacks")
    log.addHandler(logging.StreamHandler(sys.stdout))
    log.setLevel(logging.DEBUG)
    train = train_lightning if framework == "lightning" else train_keras
    print("trained", train(dirpath, json.loads(mirrors), int(epochs), float(pause), int(workers)), flush=True)
