"""A slow script that saves on a signal: ``DIRPATH SECONDS_A_BATCH [stateful]``; prints its progress and log."""

import logging
import sys
import time

from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from tests.adapters.lightning.task import digest, fit

LOADERS = {"plain": DataLoader, "stateful": StatefulDataLoader}


class Slow(Callback):
    def __init__(self, pause):
        self.pause = pause

    def on_train_batch_start(self, trainer, module, batch, index):
        print("step", trainer.global_step, flush=True)
        time.sleep(self.pause)

    def on_validation_batch_start(self, trainer, module, batch, index):
        print("validation", trainer.global_step, index, flush=True)
        time.sleep(self.pause)

    def on_save_checkpoint(self, trainer, module, checkpoint):
        print("save", trainer.global_step, flush=True)
        time.sleep(self.pause)


def train(dirpath, pause=0.0, loader="plain"):
    """Train to the end; return the SHA-256 of everything that was trained."""
    module, trainer, _ = fit(
        dirpath, Policy(Every(epochs=1) | OnPreempt(), KeepAll()), resume=True, extra=[Slow(pause)], max_epochs=3,
        loader=LOADERS[loader], num_sanity_val_steps=0, val_size=4,
    )  # fmt: skip
    return digest(module, trainer)


if __name__ == "__main__":
    logging.getLogger("ckpt_callbacks").addHandler(logging.StreamHandler(sys.stdout))
    train(sys.argv[1], float(sys.argv[2]), *sys.argv[3:])
