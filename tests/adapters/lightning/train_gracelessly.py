"""A script that signals itself, and whose last save takes longer than the grace period: ``DIRPATH``."""

import os
import signal
import sys
import time

from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from tests.adapters.lightning.task import fit


class Slow(Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 13:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_save_checkpoint(self, trainer, *_):
        if trainer.global_step == 14:
            time.sleep(60)


fit(sys.argv[1], Policy(Every(epochs=1) | OnPreempt(), KeepAll()), extra=[Slow()], arguments={"grace": 1.0})
