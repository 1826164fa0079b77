"""The cases in which ModelCheckpoint's own writer is left to write its files."""

from __future__ import annotations

import logging
import os

from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io.async_plugin import AsyncCheckpointIO

from ...errors import PolicyError
from ...store.paths import expanded

log = logging.getLogger("ckpt_callbacks")
_said: set[str] = set()


def is_left_to_original(trainer: Trainer, dirpath: str | os.PathLike[str]) -> bool:
    """Return whether this package cannot write the files; log why, once for each directory.

    Args:
        trainer: The trainer.
        dirpath: The directory.
    """
    if trainer.fast_dev_run:  # nothing is saved
        return True
    why = _why(trainer, os.fspath(dirpath))
    if why and os.fspath(dirpath) not in _said:
        _said.add(os.fspath(dirpath))
        log.warning("ModelCheckpoint: %s, so Lightning itself writes the files: not verified, not exactly resumed", why)
    return bool(why)


def _why(trainer: Trainer, dirpath: str) -> str:
    plugin = trainer.strategy.checkpoint_io
    while plugin is not None:
        if isinstance(plugin, AsyncCheckpointIO):
            return "AsyncCheckpointIO returns before a file exists; without it, files are written in the background too"
        plugin = getattr(plugin, "checkpoint_io", None)
    try:
        where = expanded("dirpath", dirpath)
    except PolicyError:
        return f"{dirpath} is a URL"
    return "" if str(where) == dirpath else f"{dirpath} names a variable"
