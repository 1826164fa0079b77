"""Generated arguments of ModelCheckpoint and curves of a metric, on which the original and the drop-in are compared."""

from __future__ import annotations

import math
import random
import warnings
from dataclasses import dataclass

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from tests.drop_ins.lightning_runs import files

CURVES = {
    "falls": (0.9, 0.7, 0.5, 0.3),
    "rises": (0.1, 0.2, 0.4, 0.8),
    "zigzag": (0.5, 0.8, 0.3, 0.6),
    "ties": (0.5, 0.5, 0.4, 0.4),
    "NaN": (0.5, math.nan, 0.4, 0.6),
    "NaN first": (math.nan, 0.5, 0.6, 0.4),
}
VALUES = {
    "monitor": (None, "val", "val", "val", "step"),
    "mode": ("min", "max"),
    "save_top_k": (-1, 0, 1, 1, 2, 3),
    "save_last": (None, True, "link"),
    "filename": (None, "best", "{epoch}-{val:.2f}", "{epoch}/{val:.1f}", "last", "{missing}-{step:03d}"),
    "auto_insert_metric_name": (True, False),
    "enable_version_counter": (True, True, False),
    "save_on_train_epoch_end": (None, None, True, False),
    "save_weights_only": (False, True),
    "trigger": ({}, {}, {"every_n_epochs": 2}, {"every_n_train_steps": 2}, {"every_n_train_steps": 3}),
    "fit": ({}, {}, {"val_check_interval": 0.5}, {"check_val_every_n_epoch": 2}),
    "curve": tuple(CURVES),
}


@dataclass(frozen=True)
class Case:
    """Arguments of the callback and of the trainer, and the name of a curve."""

    arguments: dict
    fit: dict
    curve: str

    @property
    def differences(self):
        """The names, in docs/drop-ins.md, of the deliberate differences that this case may show."""
        monitor, last = self.arguments["monitor"], self.arguments["save_last"]
        steps = "every_n_train_steps" in self.arguments
        found = set()
        if self.curve.startswith("NaN") and monitor == "val":
            found.add("NaN ranks")
        if monitor == "val" and (
            steps or (self.arguments["save_on_train_epoch_end"] and "check_val_every_n_epoch" in self.fit)
        ):
            found |= {"stale metric", "lost wait"}
        if last is True and (monitor is not None or self.arguments["save_top_k"] == 0):
            found.add("stale last")
        return found


def cases(number, seed=0):
    """Return as many different valid cases."""
    drawn, found = random.Random(seed), {}
    while len(found) < number:
        values = {name: drawn.choice(options) for name, options in VALUES.items()}
        trigger, fit, curve = (values.pop(name) for name in ("trigger", "fit", "curve"))
        if values["monitor"] is None and values["save_top_k"] not in (-1, 0, 1):
            continue  # the original refuses it
        case = Case({**values, **trigger}, fit, curve)
        found.setdefault(repr(case), case)
    return list(found.values())


class Curve(lightning.LightningModule):
    """A module whose validation measures the values of a curve."""

    def __init__(self, values):
        super().__init__()
        self.weight, self.values, self.measured = torch.nn.Parameter(torch.zeros(2)), values, 0

    def training_step(self, batch, index):
        return (self.weight * batch).sum()

    def validation_step(self, batch, index):
        self.log("val", torch.tensor(self.values[self.measured % len(self.values)]))

    def on_validation_epoch_end(self):
        self.measured += 1

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Watch(Callback):
    """A callback that notes what another one shows at the beginning of each epoch and at the end."""

    def __init__(self, watched, dirpath):
        self.watched, self.dirpath, self.seen = watched, dirpath, []

    def on_train_batch_start(self, trainer, module, batch, index):
        if index == 0:
            self.look()

    def look(self):
        getattr(self.watched, "wait", bool)()
        self.seen.append({"files": files(self.dirpath), **self.attributes()})

    def attributes(self):
        shown = self.watched

        def name(path):
            return str(path).replace(str(self.dirpath), "") if path else path

        def number(score):
            return None if score is None else round(float(score), 5)

        return {
            "best": (name(shown.best_model_path), number(shown.best_model_score)),
            "kth": (name(shown.kth_best_model_path), number(shown.kth_value)),
            "ranked": {name(path): number(score) for path, score in shown.best_k_models.items()},
            "last": name(shown.last_model_path),
            "score": number(shown.current_score),
        }


def run(cls, dirpath, case):
    """Train with the original or the drop-in; return what was seen, epoch by epoch, and the error, if any."""
    watch = Watch(cls(dirpath, **case.arguments), dirpath)
    trainer = lightning.Trainer(
        max_epochs=4, callbacks=[watch, watch.watched], logger=False, accelerator="cpu", num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, **case.fit,
    )  # fmt: skip
    batches, error = [DataLoader(torch.ones(count, 2), batch_size=None) for count in (4, 1)], None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trainer.fit(Curve(CURVES[case.curve]), *batches)
        except Exception as raised:
            error = type(raised).__name__
    watch.look()
    return watch.seen, error
