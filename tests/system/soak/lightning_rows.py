"""The Lightning rows. Each trains in a directory, from its newest checkpoint on, and returns its result."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, Improves, KeepLast, Policy, Trigger
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import VAL, Model, loaders, trainer
from tests.support.training import run_of
from tests.system.soak.attempt import Say
from tests.system.soak.digest import digest

PAUSE = 0.03  # seconds a batch, so that random moments fall everywhere
EPOCHS = 4
EPOCH_ENDS = Every(epochs=1)
MID_EPOCH = Every(epochs=1) | Every(steps=3)


class Slow(Callback):
    def __init__(self, say: Say) -> None:
        self.say = say

    def on_train_start(self, *_: Any) -> None:
        self.say.begun()

    def on_train_batch_start(self, *_: Any) -> None:
        time.sleep(PAUSE)

    def on_validation_batch_start(self, *_: Any) -> None:
        time.sleep(PAUSE)


class Plateau(Model):
    """A module whose learning rate falls whenever its metric does not improve by a lot."""

    def __init__(self, monitor: str, interval: str, patience: int) -> None:
        super().__init__()
        self.schedule = {"monitor": monitor, "interval": interval}
        self.patience = patience

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.Adam(self.parameters(), 0.02)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=self.patience)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **self.schedule}}


def train(
    dirpath: Path, say: Say, save: Trigger, loader: type = DataLoader, model: Any = Model, **settings: Any
) -> None:
    torch.set_num_threads(1)
    lightning.seed_everything(7, verbose=False)
    module, ckpt = model(), LightningCheckpoint(dirpath, Policy(save, KeepLast(3)))
    fitter = trainer(Slow(say), ckpt, **{"max_epochs": EPOCHS, "num_sanity_val_steps": 0, **settings})
    fitter.fit(module, *loaders(loader), ckpt_path=ckpt.resume_path())
    say.done(
        weights=digest(module.state_dict()),
        optimizer=digest([optimizer.state_dict() for optimizer in fitter.optimizers]),
        schedule=digest([config.scheduler.state_dict() for config in fitter.lr_scheduler_configs]),
        step=fitter.global_step,
        epoch=run_of(ckpt).state.epoch,
        # Lightning counts the epoch that max_steps cuts off, and no longer when there is nothing left to train.
        loop_epoch=fitter.current_epoch if fitter.max_steps == -1 else None,
    )


def train_together(dirpath: Path, say: Say, save: Trigger) -> None:
    os.environ |= {"LOCAL_RANK": str(say.rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"MASTER_PORT": str(say.port)}
    try:
        train(dirpath, say, save, strategy="ddp", devices=2)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


TRAININGS = {
    "lightning-plain": partial(train, save=EPOCH_ENDS),
    "lightning-stateful": partial(train, save=MID_EPOCH, loader=StatefulDataLoader),
    "lightning-ddp": partial(train_together, save=MID_EPOCH),
    "lightning-plateau-epoch": partial(train, save=EPOCH_ENDS, model=partial(Plateau, "val_loss", "epoch", 0)),
    "lightning-plateau-step": partial(
        train, save=MID_EPOCH, loader=StatefulDataLoader, model=partial(Plateau, "train_loss_step", "step", 2)
    ),
    "lightning-max-steps": partial(train, save=EPOCH_ENDS, max_steps=36, max_epochs=-1),
    "lightning-val-check": partial(
        train, save=Every(epochs=1) | Improves(VAL), loader=StatefulDataLoader, val_check_interval=0.5
    ),
    "lightning-accumulation": partial(train, save=MID_EPOCH, loader=StatefulDataLoader, accumulate_grad_batches=3),
    "lightning-plain-mid-epoch": partial(train, save=MID_EPOCH),
}
