"""Training runs whose checkpoints Lightning's own callbacks, or the drop-ins for them, decide on."""

from __future__ import annotations

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint as Original

from ckpt_callbacks.lightning import ModelCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import Model, digest, loaders, trainer

BOTH = {"original": Original, "drop-in": ModelCheckpoint}


class Plateau(Model):
    """A network with dropout whose learning rate follows the validation."""

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.02)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


def fit(*callbacks, model=Plateau, ckpt_path=None, **settings):
    """Train on shuffled data; returns the trainer."""
    lightning.seed_everything(7, verbose=False)
    module, fitter = model(), trainer(*callbacks, **settings)
    fitter.fit(module, *loaders(), ckpt_path=ckpt_path)
    return fitter


def fit_until(step, *callbacks, **settings):
    """Train until an exception at the beginning of the batch after ``step``."""
    try:
        fit(Crash(step), *callbacks, **settings)
    except ZeroDivisionError:
        return
    raise AssertionError(f"training went beyond step {step}")


def end_of(fitter):
    """Return a digest of the weights and the optimizer's state."""
    return digest(fitter.lightning_module, fitter)


def files(dirpath):
    """Return the names of all files, except those that are private."""
    found = (path.relative_to(dirpath) for path in dirpath.rglob("*") if path.is_file() or path.is_symlink())
    return sorted(path.as_posix() for path in found if path.parts[0] not in (".run", ".ckpt"))
