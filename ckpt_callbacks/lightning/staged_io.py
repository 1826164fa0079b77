"""How the bytes of our own saves reach the disk."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io.async_plugin import AsyncCheckpointIO
from lightning.pytorch.plugins.io.wrapper import _WrappingCheckpointIO
from lightning.pytorch.strategies import Strategy

from ..errors import PolicyError, ResumeError, first_line
from ..formats import torch_zip
from ..snapshot import LiveSnapshot, Snapshot, Written
from . import torch_file
from .loading import loads_plainly, refuse_other_model
from .mapping import can_map, load_mapped
from .staging import TorchStaging, steady

log = logging.getLogger("ckpt_callbacks")

_IN_MEMORY = Path("snapshot")  # stands for a file while Lightning collects a checkpoint that is to be copied


class StagedCheckpointIO(_WrappingCheckpointIO):
    """Writes our staged files straight to their place; hands everything else to the wrapped plugin.

    Lightning's own writer goes through ``$TMPDIR``, which may lie on another file system.

    Args:
        checkpoint_io: The plugin that is wrapped. trainer: whose strategy has it. staging: holds the snapshots.

    Attributes:
        staging: As given.
    """

    def __init__(self, checkpoint_io: Any, trainer: Trainer, staging: TorchStaging) -> None:
        inner = checkpoint_io
        while inner is not None:
            if isinstance(inner, AsyncCheckpointIO):
                raise PolicyError(
                    "Trainer(plugins=AsyncCheckpointIO): it returns before the file is there, so nothing could be "
                    "verified; remove the plugin"
                )
            inner = getattr(inner, "checkpoint_io", None)
        super().__init__(checkpoint_io)
        self._trainer, self.staging = trainer, staging
        self._ours: Path | None = None  # the file that is ours to write, while Lightning collects what goes into it
        self._record: Mapping[str, Any] | None = None
        self._taken: Snapshot | None = None
        self._error: Exception | None = None

    def stage(self, record: Mapping[str, Any] | None, weights_only: bool) -> Snapshot:
        """The training's state as it is now, for a checkpoint; to be called on every process.

        Args:
            record: The facts that go into it; see `Run.facts`. weights_only: leave out what only a resume needs.
        """
        self._record = record
        if type(self._trainer.strategy).save_checkpoint is not Strategy.save_checkpoint:
            return LiveSnapshot(lambda path: self._write_together(path, weights_only))
        self._collect(_IN_MEMORY, weights_only)
        if self._error is not None:
            raise self._error
        # Of several processes, only the first one is given the checkpoint.
        return self._taken or LiveSnapshot(lambda path: Written())

    def _write_together(self, path: Path, weights_only: bool) -> Written:
        """All processes write, each what its strategy tells it to."""
        self._collect(path, weights_only)
        if self._error is not None:
            raise self._error
        return self._taken.write(path) if self._taken is not None else Written()

    def _collect(self, path: Path, weights_only: bool) -> None:
        self._ours, self._taken, self._error = path, None, None
        try:
            self._trainer.save_checkpoint(path, weights_only=weights_only)
        finally:
            self._ours = None

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        plain = type(self.checkpoint_io) is TorchCheckpointIO and loads_plainly(self._trainer)
        mapped = plain and can_map(path)
        begun = time.perf_counter()
        try:
            checkpoint = (load_mapped if mapped else super().load_checkpoint)(path, *args, **kwargs)
        except pickle.UnpicklingError as error:
            raise ResumeError(
                f"{path}: holds more than tensors and plain values, which may run code when it is loaded "
                f"({first_line(error)[:200]}); if you trust the file, pass weights_only=False to trainer.fit()"
            ) from error
        how = "mapped into memory" if mapped else "read"
        log.info("%s: %s in %.2f s", path, how, time.perf_counter() - begun)
        refuse_other_model(self._trainer, path, checkpoint)
        return checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if self._ours is None or Path(path) != self._ours:
            super().save_checkpoint(checkpoint, path, storage_options=storage_options)
            return
        try:
            self._taken = self._take(checkpoint, storage_options)
        except Exception as error:  # kept for the caller: the other processes would wait at a barrier for ever
            self._error = error

    def _take(self, checkpoint: dict[str, Any], storage_options: Any | None) -> Snapshot:
        for key in ("hyper_parameters", "datamodule_hyper_parameters"):
            if key in checkpoint:
                checkpoint[key] = _loadable(checkpoint[key])
        checkpoint[torch_zip.KEY] = {"record": self._record}
        shapes = [(n, tuple(t.shape)) for n, t in checkpoint["state_dict"].items() if hasattr(t, "shape")]
        if type(self.checkpoint_io) is TorchCheckpointIO:
            if self._ours != _IN_MEMORY:
                return LiveSnapshot(lambda path: torch_file.write(path, checkpoint, shapes))
            return self.staging.stage(checkpoint, shapes, steady(self._trainer))

        def write_with_plugin(path: Path) -> Written:
            with torch_file.disk_errors(path):
                self.checkpoint_io.save_checkpoint(checkpoint, path, storage_options=storage_options)
            return Written(shapes)

        return LiveSnapshot(write_with_plugin)


def same_weights(a: Path, b: Path) -> bool:
    """The two checkpoints hold equal weights, whatever else differs."""
    if a.is_dir() or b.is_dir():
        return False
    first, second = (torch.load(p, map_location="cpu", mmap=True, weights_only=True)["state_dict"] for p in (a, b))
    return first.keys() == second.keys() and all(_equal(first[name], second[name]) for name in first)


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
