"""The arguments of the running `fit`, and checks of them before a checkpoint is loaded.

Lightning's hooks do not receive the path to resume from. Until the checkpoint is loaded, it is only in local variables
of `Trainer._run`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import DoublePrecision
from lightning.pytorch.trainer.connectors.callback_connector import _validate_callbacks_list
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector

from ..errors import ResumeError
from ..run.run import Run
from .averaging import further_epochs


def path_to_load() -> Any:
    """Return what Lightning would load. `trainer.ckpt_path` is set only after the checkpoint is loaded."""
    return _argument_of(Trainer._run, "ckpt_path")


def is_resuming() -> bool:
    """Return whether a checkpoint is loaded now because the running `fit` resumes from it.

    Other callbacks load checkpoints as well: LearningRateFinder restores the state that it has saved itself.
    """
    return is_called_by(_CheckpointConnector._restore_modules_and_callbacks)


def path_being_loaded() -> Any:
    """Return the path of the checkpoint that is loaded now because the running `fit` resumes from it."""
    return _argument_of(_CheckpointConnector._restore_modules_and_callbacks, "checkpoint_path")


def is_called_by(method: Callable[..., Any]) -> bool:
    """Return whether a method of Lightning is running on this thread."""
    return _frame_of(method) is not None


def callbacks_being_checked() -> Any:
    """Return the callbacks of the trainer that reads the property whose getter calls this, to compare them."""
    reader = sys._getframe(2)
    return reader.f_locals["callbacks"] if reader.f_code is _validate_callbacks_list.__code__ else ()


def trusts_checkpoints() -> bool:
    """Return whether the user passed ``weights_only=False`` to the running `fit`."""
    return _argument_of(Trainer._run, "weights_only") is False


def refuse_to_begin_again(dirpath: Path, step: int, resumed_at: int | None) -> None:
    """Raise `ResumeError` if training begins before the step at which its checkpoint was taken."""
    if resumed_at is not None and step < resumed_at:
        raise ResumeError(
            f"{dirpath}: a checkpoint of step {resumed_at} was loaded, and another callback has set training back to "
            f"step {step}; leave callbacks such as LearningRateFinder and BatchSizeFinder out of a run that is resumed"
        )


def refuse_fewer_epochs(run: Run, trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Raise `ResumeError` if a checkpoint was taken in an epoch that the trainer never trains.

    If a later fit of the script has saved the checkpoint, the running fit was completed before. It then gets only the
    weights, and trains nothing.
    """
    if "loops" not in checkpoint or trainer.max_epochs in (None, -1):
        return
    progress, most = checkpoint["loops"]["fit_loop"]["epoch_progress"], trainer.max_epochs + further_epochs(trainer)
    if (epochs := progress["current"]["started"]) <= most:
        return
    if not is_of_later_fit(run, path_being_loaded()):
        raise ResumeError(
            f"{run.dirpath}: the checkpoint is of epoch {epochs}, and Trainer(max_epochs={trainer.max_epochs}) counts "
            "from the run's first epoch; to continue, raise max_epochs; a new phase of training needs its own directory"
        )
    progress["current"] = dict.fromkeys(progress["current"], most)
    checkpoint["optimizer_states"], checkpoint["lr_schedulers"] = [], []  # the later fit may have others


def is_of_later_fit(run: Run, path: Any) -> bool:
    """Return whether a fit of the script that comes after the running one has saved the checkpoint."""
    record = run.view.find(path) if path is not None else None
    return record is not None and record.fit > run.fits.next_number


def convert_before_loading(trainer: Trainer, path: Any) -> None:
    """Convert the model to double before loading. Lightning converts it afterwards, which rounds the weights."""
    if path is not None and isinstance(trainer.precision_plugin, DoublePrecision):
        trainer.precision_plugin.convert_module(trainer.lightning_module)


def _argument_of(method: Callable[..., Any], name: str) -> Any:
    frame = _frame_of(method)
    return frame.f_locals.get(name) if frame is not None else None


def _frame_of(method: Callable[..., Any]) -> FrameType | None:
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not method.__code__:
        frame = frame.f_back
    return frame
