"""A script that trains with a forked data-loader worker, copies its run directory meanwhile, and waits: ``DIRPATH``."""

import multiprocessing
import os
import shutil
import sys
import time

import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, Dataset

from ckpt_callbacks import Every, KeepLast, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model, data, trainer

dirpath = sys.argv[1]
X, Y = data(24)


class Slow(Dataset):
    """Blocks in the worker at the last row, so that the worker outlives a killed training process."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        if index == len(X) - 1:
            time.sleep(60)
        return X[index], Y[index]


class Copy(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        if batch_index == 4:
            checkpoint.wait()
            shutil.copytree(dirpath, f"{dirpath} copied", symlinks=True)
            (worker,) = multiprocessing.active_children()
            print(f"copied {worker.pid}", flush=True)
            while not os.path.exists(f"{dirpath}/SAVE_NOW"):
                time.sleep(0.01)


checkpoint = LightningCheckpoint(dirpath, Policy(Every(steps=2), KeepLast(2)))
torch.manual_seed(0)
loader = DataLoader(Slow(), 1, num_workers=1, multiprocessing_context="fork", prefetch_factor=2)
trainer(Copy(), checkpoint, max_epochs=1).fit(Model(), loader)
