"""The remedies for a refused resume, by how the script has asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from .compat import ModelCheckpointAttributes
from .fit_call import path_being_loaded
from .starting_point import is_asked_by_caller, is_named


def way_to_begin_again(trainer: Trainer) -> str:
    """Return how the running `fit` would train from scratch."""
    no_path = " and no ckpt_path" if is_asked_by_caller(trainer) else ""
    return f"pass resume='never'{no_path} to start from scratch"


def way_to_leave_out_optimizer(trainer: Trainer) -> str:
    """Return how to continue from the same checkpoint and step with a new optimizer."""
    path = path_being_loaded() or trainer.ckpt_path
    if not is_named(trainer):
        return "pass resume={'optimizer': False}"
    if is_asked_by_caller(trainer) and _is_newest(trainer, path):
        return 'call trainer.fit(model, ckpt_path=ckpt.resume_path(only=["weights", "step"]))'
    return f"pass resume={{'optimizer': False}} to the callback, and ckpt_path={str(path)!r} to trainer.fit"


def _is_newest(trainer: Trainer, path: Any) -> bool:
    """Return whether `resume_path` of the first callback would return the path."""
    own = next(one for one in trainer.callbacks if isinstance(one, ModelCheckpointAttributes))
    found = own._run.view.resumable()
    return bool(found) and found[0].path.resolve() == Path(path).resolve()
