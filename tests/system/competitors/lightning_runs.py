"""Training runs with Lightning's own callbacks, on the same task and from the same seed as this package's."""

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch.utils.data import DataLoader

from tests.adapters.lightning.task import Model, fit, loaders, trainer


class Crash(Callback):
    """A callback that raises before the batch that follows ``step``."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == self.step:
            raise ZeroDivisionError("crash")


class CrashInTest(Callback):
    def on_test_batch_start(self, *_):
        raise ZeroDivisionError("crash")


class Watch(Callback):
    """A record of ``(epoch, index, sum of the targets)`` of each batch that is trained on."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self.batches.append((trainer.current_epoch, index, float(batch[1].sum())))

    @property
    def positions(self):
        return [(epoch, index) for epoch, index, _ in self.batches]


class Rising(Model):
    """A module whose ``val_loss`` is the number of the epoch, so that the first one is the best."""

    def validation_step(self, batch, index):
        self.log("val_loss", torch.tensor(float(self.trainer.current_epoch)))


class WithPath(Model):
    """A module with a path among its hyperparameters."""

    def __init__(self, root):
        super().__init__()
        self.save_hyperparameters("root")


def fit_theirs(*callbacks, ckpt_path=None, module=None, loader=DataLoader, train=None, **settings):
    """Train as `fit` of the task does, with these callbacks alone, and return the module and the trainer."""
    lightning.seed_everything(7, verbose=False)
    saves = any(isinstance(callback, Checkpoint) for callback in callbacks)
    module, fitter = module or Model(), trainer(*callbacks, enable_checkpointing=saves, **settings)
    own, validation = loaders(loader)
    fitter.fit(module, own if train is None else train, validation, ckpt_path=ckpt_path)
    return module, fitter


def fit_and_crash(dirpath, policy, step, *, extra=(), **settings):
    """Train with this package's callback until it crashes after ``step``."""
    with pytest.raises(ZeroDivisionError):
        fit(dirpath, policy, extra=[*extra, Crash(step)], **settings)


def fit_theirs_and_crash(step, *callbacks, **settings):
    """Train with Lightning's callbacks until it crashes after ``step``."""
    with pytest.raises(ZeroDivisionError):
        fit_theirs(*callbacks, Crash(step), **settings)
