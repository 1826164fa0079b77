"""The remedies for a refused resume, by how the script has asked for it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from ..errors import ResumeError
from ..policy.contents_order import held
from ..run.view import RunView
from .compat import ModelCheckpointAttributes
from .fit_call import path_being_loaded
from .starting_point import is_asked_by_caller, is_named


def takes_resume(trainer: Trainer) -> bool:
    """Return whether a callback of the trainer has the argument ``resume``; drop-ins do not have it."""
    return any(isinstance(one, ModelCheckpointAttributes) for one in trainer.callbacks)


def way_to_begin_again(trainer: Trainer) -> str:
    """Return how the running `fit` would train from scratch."""
    if not takes_resume(trainer):
        return "pass no ckpt_path to start from scratch"
    no_path = " and no ckpt_path" if is_asked_by_caller(trainer) else ""
    return f"pass resume='never'{no_path} to start from scratch"


def way_to_leave_out_optimizer(trainer: Trainer) -> str:
    """Return how to continue with a new optimizer: at the same step, or, with a drop-in, from the weights alone."""
    if not takes_resume(trainer):
        return "load its weights into the model and pass no ckpt_path"
    path = path_being_loaded() or trainer.ckpt_path
    if not is_named(trainer):
        return "pass resume={'optimizer': False}"
    if is_asked_by_caller(trainer) and _is_newest(trainer, path):
        return 'call trainer.fit(model, ckpt_path=ckpt.resume_path(only=["weights", "step"]))'
    return f"pass resume={{'optimizer': False}} to the callback, and ckpt_path={str(path)!r} to trainer.fit"


def only_weights(view: RunView, path: str | PathLike[str]) -> ResumeError:
    """Return the error about a checkpoint without the state that a run needs to continue.

    Args:
        view: The checkpoints of the run directory.
        path: The checkpoint, which may be one of another directory.
    """
    record = view.find(Path(path))
    whole = next((one for one in view.resumable() if one != record), None)
    found, example = "weights" if record is None else held(record), "" if whole is None else f", such as {whole.path}"
    # A drop-in, in whose runs other code names the files, takes neither argument.
    whole_one, instead = "with contents='full'", "resume='never' and no path"
    if view.names_are_given:
        whole_one, instead = "of ModelCheckpoint with save_weights_only=False", "no ckpt_path"
    return ResumeError(
        f"{path}: holds only {found}, so a run cannot be resumed from it; expected a checkpoint {whole_one}{example}, "
        f"or load its weights into the model and pass {instead}"
    )


def _is_newest(trainer: Trainer, path: Any) -> bool:
    """Return whether `resume_path` of the first callback would return the path."""
    own = next(one for one in trainer.callbacks if isinstance(one, ModelCheckpointAttributes))
    found = own._run.view.resumable()
    return bool(found) and found[0].path.resolve() == Path(path).resolve()
