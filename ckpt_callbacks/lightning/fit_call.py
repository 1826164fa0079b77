"""The arguments of the running `fit`, and checks of them before a checkpoint is loaded.

Lightning's hooks do not receive the path to resume from. Until the checkpoint is loaded, it is only in local variables
of `Trainer.fit`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import DoublePrecision

from ..errors import ResumeError


def path_to_load() -> Any:
    """Return what the running `fit` resumes from. `trainer.ckpt_path` is set only after the checkpoint is loaded."""
    return _path_given_to(Trainer._run)


def refuse_last(dirpath: Path) -> None:
    """Raise `ResumeError` if the user passed ``ckpt_path="last"``."""
    # Lightning resolves it before any hook, among ModelCheckpoints only, and would silently start from scratch.
    if _path_given_to(Trainer.fit) == "last" and path_to_load() is None:
        raise ResumeError(
            f'{dirpath}: ckpt_path="last" is not known to Lightning for this callback, and would start from scratch; '
            "call trainer.fit(model, ckpt_path=ckpt.resume_path())"
        )


def refuse_to_begin_again(dirpath: Path, step: int, resumed_at: int | None) -> None:
    """Raise `ResumeError` if training begins before the step at which its checkpoint was taken."""
    if resumed_at is not None and step < resumed_at:
        raise ResumeError(
            f"{dirpath}: a checkpoint of step {resumed_at} was loaded, and another callback has set training back to "
            f"step {step}; leave callbacks such as LearningRateFinder and BatchSizeFinder out of a run that is resumed"
        )


def convert_before_loading(trainer: Trainer) -> None:
    """Convert the model to double before loading. Lightning converts it afterwards, which rounds the weights."""
    if path_to_load() is not None and isinstance(trainer.precision_plugin, DoublePrecision):
        trainer.precision_plugin.convert_module(trainer.lightning_module)


def _path_given_to(method: Callable[..., Any]) -> Any:
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not method.__code__:
        frame = frame.f_back
    return frame.f_locals.get("ckpt_path") if frame is not None else None
