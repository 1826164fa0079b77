"""Hyperparameters of a script that differ from those of the checkpoint that it resumes from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer

from ..runtime.plain_values import SCALARS
from .fit_call import path_being_loaded
from .remedies import way_to_leave_out_optimizer

log = logging.getLogger("ckpt_callbacks")

_MOST = 5  # names in the message


def name_changed(trainer: Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Log which hyperparameters have changed, if the optimizer is restored: it does not follow them.

    Args:
        trainer: The trainer.
        checkpoint: What was loaded.
    """
    rates = [group["lr"] for saved in checkpoint.get("optimizer_states", ()) for group in saved.get("param_groups", ())]
    before, now = checkpoint.get("hyper_parameters"), trainer.lightning_module.hparams
    if not rates or not isinstance(before, Mapping) or not trainer.is_global_zero:
        return
    changed = [
        f"{name} {before[name]!r} -> {now[name]!r}"
        for name in now
        if name in before and type(now[name]) in SCALARS and type(before[name]) in SCALARS and before[name] != now[name]
    ]
    if changed:
        log.warning(
            "%s: hyperparameters have changed since this checkpoint: %s%s; the optimizer is restored as it was, with "
            "the learning rate %g; for a new one, %s", path_being_loaded(), ", ".join(changed[:_MOST]),
            ", ..." if len(changed) > _MOST else "", float(rates[0]), way_to_leave_out_optimizer(trainer),
        )  # fmt: skip
