"""``python train_lightning.py DIRPATH [STEP]``: train and go on from the last checkpoint; be killed at the step."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lightning.pytorch.callbacks import Callback

from ckpt_callbacks.lightning import ModelCheckpoint
from tests.drop_ins.lightning_runs import end_of, fit


class Kill(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        if len(sys.argv) > 2 and trainer.global_step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)


best = ModelCheckpoint(sys.argv[1], monitor="val_loss", save_top_k=2)
last = ModelCheckpoint(sys.argv[1], filename="newest-{step}", save_last=True, every_n_train_steps=2)
print(end_of(fit(Kill(), best, last, ckpt_path="last")))
