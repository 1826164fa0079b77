"""A script that trains four epochs and writes a line of facts after each: ``DIRPATH FACTS [seconds a batch]``."""

import hashlib
import json
import sys
import time

from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, Improves, KeepLast, Metric, Patience, Policy
from tests.adapters.lightning.task import VAL, fit
from tests.support.training import run_of

dirpath, facts, pause = sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
EASY = Metric("val_loss", mode="min", min_delta=5.0)
policy = Policy(Every(epochs=1) | Improves(VAL), KeepLast(2), stop=Patience(EASY, checks=50))


class Watch(Callback):
    def on_train_batch_start(self, *_):
        time.sleep(pause)

    def on_train_epoch_start(self, trainer, module):
        # when the next epoch begins, the state of the one before is complete, its checkpoint included
        if trainer.current_epoch:
            self.write(trainer, trainer.current_epoch)

    def on_train_end(self, trainer, module):
        self.write(trainer, trainer.current_epoch)

    def write(self, trainer, epoch):
        moments = hashlib.sha256()
        for state in trainer.optimizers[0].state.values():
            for name in ("step", "exp_avg", "exp_avg_sq"):
                moments.update(state[name].numpy().tobytes())
        callback = next(c for c in trainer.callbacks if type(c).__name__ == "LightningCheckpoint")
        callback.wait()
        state = run_of(callback).state
        track = state.tracks[policy.tracks[EASY]]
        line = {
            "epoch": epoch,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "moments": moments.hexdigest(),
            "best": state.tracks[policy.tracks[VAL]].best,
            "saved": state.tracks[policy.tracks[VAL]].saved,
            "stale": track.stale,
        }
        with open(facts, "a") as file:
            file.write(json.dumps(line) + "\n")


fit(dirpath, policy, resume=True, extra=[Watch()], max_epochs=4)
