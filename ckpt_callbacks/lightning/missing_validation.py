"""Metrics of a validation that a call of `Trainer.fit` does not have."""

from __future__ import annotations

import logging

from lightning.pytorch import Trainer

from ..run.run import Run

log = logging.getLogger("ckpt_callbacks")


def warn_without_validation(trainer: Trainer, run: Run) -> None:
    """Log which metrics only a validation should log, if there is none. Call it before training, after a resume.

    It is no error, because a module can log any name while it trains.
    """
    if trainer.enable_validation or not run.processes.is_primary:
        return
    for metric in {metric.name: metric for metric in run.policy.tracks}.values():
        if all(name.startswith("val") and name not in run.state.logged_names for name in metric.names):
            log.warning(
                "%s: the metric %r needs a validation, and this fit has none; expected val_dataloaders, "
                "validation_step() and limit_val_batches above 0, or a metric that is logged in training, such as %r",
                run.dirpath, metric.name, metric.names[0].replace("val", "train", 1),
            )  # fmt: skip
