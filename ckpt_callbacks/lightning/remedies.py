"""The remedies for a refused resume, by how the script has asked for it."""

from __future__ import annotations

from lightning.pytorch import Trainer

from .starting_point import is_asked_by_caller


def way_to_begin_again(trainer: Trainer) -> str:
    """Return how the running `fit` would train from scratch."""
    if is_asked_by_caller(trainer):
        return "start from scratch without ckpt_path"
    return "pass resume='never' to start from scratch"


def way_to_leave_out_optimizer(trainer: Trainer) -> str:
    """Return how the running `fit` would continue at the same step with a new optimizer."""
    if is_asked_by_caller(trainer):
        return 'call trainer.fit(model, ckpt_path=ckpt.resume_path(only=["weights", "step"]))'
    return "pass resume={'optimizer': False}"
