"""Small scripts as people write them, each run with the original callback and with the drop-in."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import lightning
import torch
from torch.utils.data import DataLoader

from tests.drop_ins.lightning_runs import BOTH

LOSS, SCORE = 0.34567, 0.87654
_FIELD = re.compile(r"\{([^:}]+)")
_SCORES = re.compile("acc|auc|iou|dice|jaccard|srcc|recall", re.IGNORECASE)
_COUNTED = {"epoch": 3, "step": 1200}


class Logs(lightning.LightningModule):
    """A module with one weight whose validation logs given metrics.

    Args:
        metrics: By name, one value, or one for each epoch.
        sets: How many data sets are validated.
    """

    def __init__(self, metrics=None, sets=1):
        super().__init__()
        self.weight, self.metrics, self.sets = torch.nn.Parameter(torch.zeros(2)), metrics or {}, sets

    def training_step(self, batch, index):
        return (self.weight * batch).sum()

    def validation_step(self, batch, index, dataloader_idx=0):
        for name, values in self.metrics.items():
            values = values if isinstance(values, list) else [values]
            self.log(name, values[self.current_epoch % len(values)], add_dataloader_idx=self.sets > 1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self):
        return DataLoader(torch.ones(2, 2), batch_size=None)

    def val_dataloader(self):
        return [DataLoader(torch.ones(1, 2), batch_size=None) for _ in range(self.sets)]


def new_trainer(*callbacks, **settings):
    """Return a trainer of two epochs, with two steps each."""
    settings = {"max_epochs": 2, "logger": False, "num_sanity_val_steps": 0, **settings}
    return lightning.Trainer(
        callbacks=list(callbacks), accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, **settings
    )


def train(*callbacks, metrics=None, module=None, ckpt_path=None, **settings):
    """Train; returns the trainer."""
    trainer = new_trainer(*callbacks, **settings)
    trainer.fit(module or Logs(metrics), ckpt_path=ckpt_path, weights_only=False)
    return trainer


def metrics_of(template, monitor):
    """Return a value of each metric that a template or a callback names."""
    names = {*_FIELD.findall(template or ""), *([monitor] if monitor else [])} - _COUNTED.keys()
    return {
        name: 1200.0 if name in ("batch", "global_step") else SCORE if _SCORES.search(name) else LOSS for name in names
    }


def formatted(callback, template, monitor):
    """Return the name of a file after 1,200 steps in epoch 3."""
    values = {**metrics_of(template, monitor), **_COUNTED}
    return callback.format_checkpoint_name({name: torch.tensor(value) for name, value in values.items()})


def listing(folder):
    """Return the names of all files and folders below a folder, except those that are private."""
    found = (path.relative_to(folder) for path in Path(folder).rglob("*"))
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))


def shown(callback):
    """Return what scripts read from a callback."""
    return {
        "best": (callback.best_model_path, callback.best_model_score), "ranked": dict(callback.best_k_models),
        "kth": (callback.kth_best_model_path, callback.kth_value), "last": callback.last_model_path,
        "current": callback.current_score, "filename": callback.filename, "dirpath": callback.dirpath,
        "key": callback.state_key,
    }  # fmt: skip


def same(tmp_path, script):
    """Run a script with either class, and return what both have seen.

    Args:
        tmp_path: Where each of them gets a folder.
        script: Called with the class and the folder; returns texts, numbers and collections of them.
    """
    seen = {}
    for name, kind in BOTH.items():
        folder = tmp_path / name
        folder.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen[name] = _plain(script(kind, folder), str(folder))
    assert seen["drop-in"] == seen["original"], seen
    return seen["original"]


def _plain(value, folder):
    """Return a value without the name of the folder, and with numbers in place of tensors."""
    if isinstance(value, dict):
        return {_plain(key, folder): _plain(one, folder) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(one, folder) for one in (sorted(value) if isinstance(value, set) else value)]
    if isinstance(value, torch.Tensor):
        return round(float(value), 5)
    return str(value).replace(folder, "") if isinstance(value, str | Path) else value
