"""How the bytes of our own saves reach the disk."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io.async_plugin import AsyncCheckpointIO
from lightning.pytorch.plugins.io.wrapper import _WrappingCheckpointIO

from ..errors import PolicyError, ResumeError, first_line
from ..formats import Shapes, torch_zip
from .loading import refuse_other_model

_ALMOST_NOTHING = 1 << 20  # bytes; a write that failed has left less than it asked for


class StagedCheckpointIO(_WrappingCheckpointIO):
    """Writes our staged files straight to their place; hands everything else to the wrapped plugin.

    Lightning's own writer goes through ``$TMPDIR``, which may lie on another file system. A failure is kept for the
    caller instead of raised, so that the other processes do not wait at a barrier for ever.

    Attributes:
        staged: The file that is ours to write. record: the facts that go into it; see `Run.facts`.
        error: Why it could not be written. shapes: the tensors that must be found in it.
    """

    def __init__(self, checkpoint_io: Any, trainer: Trainer) -> None:
        inner = checkpoint_io
        while inner is not None:
            if isinstance(inner, AsyncCheckpointIO):
                raise PolicyError(
                    "Trainer(plugins=AsyncCheckpointIO): it returns before the file is there, so nothing could be "
                    "verified; remove the plugin"
                )
            inner = getattr(inner, "checkpoint_io", None)
        super().__init__(checkpoint_io)
        self._trainer = trainer
        self.staged: Path | None = None
        self.record: Mapping[str, Any] | None = None
        self.error: Exception | None = None
        self.shapes: Shapes = ()

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            checkpoint = super().load_checkpoint(path, *args, **kwargs)
        except pickle.UnpicklingError as error:
            raise ResumeError(
                f"{path}: holds more than tensors and plain values, which may run code when it is loaded "
                f"({first_line(error)[:200]}); if you trust the file, pass weights_only=False to trainer.fit()"
            ) from error
        refuse_other_model(self._trainer, path, checkpoint)
        return checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if self.staged is None or Path(path) != self.staged:
            super().save_checkpoint(checkpoint, path, storage_options=storage_options)
            return
        try:
            for key in ("hyper_parameters", "datamodule_hyper_parameters"):
                if key in checkpoint:
                    checkpoint[key] = _loadable(checkpoint[key])
            checkpoint[torch_zip.KEY] = {"record": self.record}
            self.shapes = [(n, tuple(t.shape)) for n, t in checkpoint["state_dict"].items() if hasattr(t, "shape")]
            if type(self.checkpoint_io) is TorchCheckpointIO:
                torch.save(checkpoint, path)
            else:
                super().save_checkpoint(checkpoint, path, storage_options=storage_options)
        except Exception as error:
            self.error = _no_space(error, Path(path)) or error


def same_weights(a: Path, b: Path) -> bool:
    """The two checkpoints hold equal weights, whatever else differs."""
    if a.is_dir() or b.is_dir():
        return False
    first, second = (torch.load(p, map_location="cpu", mmap=True, weights_only=True)["state_dict"] for p in (a, b))
    return first.keys() == second.keys() and all(_equal(first[name], second[name]) for name in first)


def _no_space(error: Exception, path: Path) -> OSError | None:
    """What a writer that hides it means, when the disk is full: torch says "unexpected pos 64 vs 0"."""
    if isinstance(error, OSError) or not path.parent.exists() or shutil.disk_usage(path.parent).free > _ALMOST_NOTHING:
        return None
    return OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({first_line(error)})")


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and _bytes(a).equal(_bytes(b))
    return a == b


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)  # NaN equals itself


def _loadable(value: Any) -> Any:
    # A path in the hyperparameters would make the file unreadable for torch.load(weights_only=True).
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value) is dict or (isinstance(value, Mapping) and type(value).__module__.startswith("lightning")):
        return {key: _loadable(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_loadable(item) for item in value)
    return value
