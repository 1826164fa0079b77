"""Which checkpoint a `fit` goes on from."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import keras

from ..errors import ResumeError
from ..run.run import Run
from ..store.digest import verify
from .model.load import read_embedded
from .updates import UpdateCounter, has_trained


def path_to_load(run: Run, resume: str | PathLike[str], model: keras.Model, *, trained: bool) -> Path | None:
    """The checkpoint that ``model`` is brought to; None to train on with the model as it is.

    Args:
        run: The run. resume: see `KerasCheckpoint`. trained: the callback has trained this model before.

    Raises:
        ResumeError, VerifyError: ``resume`` names a file, and it cannot be resumed from.
    """
    if resume == "never":
        return None
    if resume == "auto":
        if trained or has_trained(model):
            return None
        record = next(run.view.verified_resumable(), None)
        return record.path if record else None
    if not run.is_first_fit:
        return None
    path = Path(resume)
    if not path.is_file():
        raise ResumeError(f"{path}: is no file; expected resume='auto', 'never' or the path of a checkpoint")
    record = run.view.find(path)
    if record is not None:
        verify(record)
    return path


def join(run: Run, model: keras.Model) -> None:
    """Let a model that trained before carry on the run that it comes from; it keeps its weights."""
    if not has_trained(model):
        return
    step = UpdateCounter(model, 0).at(0)
    for record in run.view.verified_resumable():
        if record.step <= step:
            run.restore(read_embedded(record.path).snapshot)
            return
