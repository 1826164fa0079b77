"""A script that two gloo processes run together; one of them raises an exception: ``DIRPATH CRASHING_RANK``."""

import sys

from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, KeepAll, OnException, Policy
from tests.adapters.lightning.task import fit


class Crash(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == 7 and trainer.global_rank == int(sys.argv[2]):
            raise ZeroDivisionError("crash")


fit(sys.argv[1], Policy(Every(epochs=1) | OnException(), KeepAll()), extra=[Crash()], strategy="ddp", devices=2)
