"""Generated arguments of EarlyStopping and curves of a metric, on which the original and the drop-in are compared."""

from __future__ import annotations

import logging
import math
import random
import warnings
from collections import Counter
from dataclasses import dataclass

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

EPOCHS, RESUMED = 6, 3

# None is an epoch, or a validation, in which the metric is not logged.
CURVES = {
    "falls": (0.9, 0.7, 0.5, 0.3, 0.2, 0.1),
    "rises": (0.1, 0.2, 0.4, 0.8, 0.9, 0.95),
    "zigzag": (0.5, 0.8, 0.3, 0.6, 0.2, 0.7),
    "ties": (0.5, 0.5, 0.4, 0.4, 0.4, 0.3),
    "by little": (0.5, 0.48, 0.45, 0.41, 0.36, 0.3),
    "NaN": (0.5, math.nan, 0.4, 0.6, math.nan, 0.3),
    "NaN first": (math.nan, 0.5, 0.6, 0.4, 0.3, 0.2),
    "infinite": (0.5, 0.4, math.inf, 0.3, 0.6, 0.7),
    "infinite first": (-math.inf, 0.5, 0.3, math.inf, 0.2, 0.1),
    "missing first": (None, 0.5, 0.4, 0.6, 0.7, 0.8),
    "missing": (0.5, None, 0.6, None, 0.4, 0.3),
    "never logged": (None,) * EPOCHS,
}
VALUES = {
    "monitor": ("val", "val", "val", "train"),
    "min_delta": (0.0, 0.0, 0.05, 0.1, -0.1),
    "patience": (0, 1, 2, 3),
    "verbose": (False, True),
    "mode": ("min", "max"),
    "strict": (True, False, False),
    "check_finite": (True, False),
    "stopping_threshold": (None, None, None, 0.25, 0.75),
    "divergence_threshold": (None, None, None, 0.25, 0.75),
    "check_on_train_epoch_end": (None, None, True, False),
    "log_rank_zero_only": (False, True),
    "fit": ({}, {}, {"check_val_every_n_epoch": 2}, {"val_check_interval": 0.5}, {"min_epochs": 4},
            {"limit_val_batches": 0}, {"num_sanity_val_steps": 1}),
    "curve": tuple(CURVES),
    "patience_before": (None, None, None, "the same", 1, 3),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Arguments of the callback and of the trainer, the name of a curve, and the patience before a resume, if any."""

    arguments: dict
    fit: dict
    curve: str
    patience_before: int | None

    @property
    def differs(self):
        """Whether "patience of the code" in docs/drop-ins.md may change what is seen."""
        return self.patience_before not in (None, self.arguments["patience"])


def cases(number, seed=0):
    """Return as many different cases."""
    drawn, found = random.Random(seed), {}
    while len(found) < number:
        values = {name: drawn.choice(options) for name, options in VALUES.items()}
        fit, curve, before = (values.pop(name) for name in ("fit", "curve", "patience_before"))
        case = Case(values, fit, curve, values["patience"] if before == "the same" else before)
        found.setdefault(repr(case), case)
    return list(found.values())


class Curve(lightning.LightningModule):
    """A module whose epochs and validations log the values of a curve."""

    def __init__(self, values):
        super().__init__()
        self.weight, self.values, self.measured = torch.nn.Parameter(torch.zeros(2)), values, Counter()

    def training_step(self, batch, index):
        return (self.weight * batch).sum()

    def on_train_epoch_end(self):
        self._measure("train")

    def validation_step(self, batch, index):
        """Measure nothing: it is done once for each validation."""

    def on_validation_epoch_end(self):
        self._measure("val")

    def _measure(self, name):
        value = self.values[self.measured[name] % len(self.values)]
        self.measured[name] += 1
        if value is not None:
            self.log(name, torch.tensor(value))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Watch(Callback):
    """A callback that notes what an EarlyStopping shows after each validation and each epoch."""

    def __init__(self, watched):
        self.watched, self.seen = watched, []

    def on_train_epoch_start(self, trainer, module):
        self.look(trainer)

    def on_validation_end(self, trainer, module):
        self.look(trainer)

    def look(self, trainer):
        shown = self.watched
        self.seen.append((
            trainer.current_epoch, trainer.should_stop, shown.wait_count, shown.stopped_epoch,
            str(shown.best_score.item()), shown.patience, shown.stopping_reason, shown.stopping_reason_message,
            repr(shown.state_dict()), shown.state_key,
        ))  # fmt: skip


class Lines(logging.Handler):
    """The lines that Lightning's EarlyStopping logs."""

    def __init__(self):
        super().__init__()
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())

    def __enter__(self):
        logging.getLogger("lightning.pytorch.callbacks.early_stopping").addHandler(self)
        return self

    def __exit__(self, *raised):
        logging.getLogger("lightning.pytorch.callbacks.early_stopping").removeHandler(self)


def run(cls, path, case, *, edited=False):
    """Train with the original or the drop-in; return what was seen, what was said, and the error, if any.

    Args:
        cls: The class of the callback.
        path: A file for the checkpoint that a resumed case is saved in.
        case: The case.
        edited: Whether the checkpoint is given the patience of the code before the resume.
    """
    module, seen = Curve(CURVES[case.curve]), []
    with warnings.catch_warnings(record=True) as warned, Lines() as lines:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", "Early stopping conditioned on metric")
        error = None
        if case.patience_before is not None:
            before = cls(**{**case.arguments, "patience": case.patience_before})
            trainer, error = _fit(before, module, seen, {**case.fit, "max_epochs": RESUMED})
            if error is None:
                trainer.save_checkpoint(path)
        if edited and error is None:
            found = torch.load(path, weights_only=False)
            found["callbacks"][before.state_key]["patience"] = case.arguments["patience"]
            torch.save(found, path)
        if error is None:
            given = {} if case.patience_before is None else {"ckpt_path": path, "weights_only": False}
            _, error = _fit(cls(**case.arguments), module, seen, {**case.fit, "max_epochs": EPOCHS}, **given)
    return seen, [*lines.said, *(str(one.message) for one in warned)], error


def _fit(callback, module, seen, settings, **given):
    """Train; add what was seen, and return the trainer and the error, if any."""
    watch = Watch(callback)
    trainer = lightning.Trainer(
        callbacks=[callback, watch], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **{"num_sanity_val_steps": 0, **settings},
    )  # fmt: skip
    batches, error = [DataLoader(torch.ones(count, 2), batch_size=None) for count in (2, 1)], None
    try:
        trainer.fit(module, *batches, **given)
    except RuntimeError as raised:
        error = str(raised)
    watch.look(trainer)
    seen.append(watch.seen)
    return trainer, error
