"""How the bytes of our own saves reach the disk."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io.async_plugin import AsyncCheckpointIO
from lightning.pytorch.plugins.io.wrapper import _WrappingCheckpointIO
from lightning.pytorch.strategies import Strategy

from ..errors import PolicyError, ResumeError, first_line
from ..formats import Written
from ..formats.torch import file as torch_file
from ..formats.torch import format as torch_zip
from ..formats.torch.pickler import is_known
from ..run.snapshot import LiveSnapshot, Snapshot
from ..torch.mapped import MappedCheckpoint, can_map
from ..torch.staging import DEVICES, TorchStaging, steady
from .fit_call import loads_plainly, refuse_other_model

log = logging.getLogger("ckpt_callbacks")

_IN_MEMORY = Path("snapshot")  # stands for a file while Lightning collects a checkpoint that is to be copied


class StagedCheckpointIO(_WrappingCheckpointIO):
    """Writes our staged files straight to their place; hands everything else to the wrapped plugin.

    Lightning's own writer goes through ``$TMPDIR``, which may lie on another file system.

    Args:
        checkpoint_io: The plugin that is wrapped. trainer: whose strategy has it. staging: holds the snapshots.

    Attributes:
        trainer, staging: As given.
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
        self.trainer, self.staging = trainer, staging
        self._ours: Path | None = None  # the file that is ours to write, while Lightning collects what goes into it
        self._record: Mapping[str, Any] | None = None
        self._taken: Snapshot | None = None
        self._mapped: MappedCheckpoint | None = None  # what was resumed from, until the first optimizer step
        self._error: Exception | None = None

    def stage(self, record: Mapping[str, Any] | None, weights_only: bool) -> Snapshot:
        """The training's state as it is now, for a checkpoint; to be called on every process.

        Args:
            record: The facts that go into it; see `Run.facts`. weights_only: leave out what only a resume needs.
        """
        self._record = record
        if self._writes_together:
            return self._live(lambda path: self._write_together(path, weights_only))
        self._collect(_IN_MEMORY, weights_only)
        if self._error is not None:
            raise self._error
        # Of several processes, only the first one is given the checkpoint.
        taken, self._taken = self._taken, None  # which may hold the state of the whole model
        return taken or LiveSnapshot(lambda path: Written())

    @property
    def copies(self) -> bool:
        """What `stage` returns is a copy, so that memory for one is not held for nothing."""
        return self.staging.copies and self._why_live() is None

    def _why_live(self) -> str | None:
        """Why no copy can be made; None where one can."""
        strategy, plugin = self.trainer.strategy, self._plugin
        if self._writes_together:
            return f"{type(strategy).__name__} has its own way to save"
        if type(plugin) is not TorchCheckpointIO:
            return f"{type(plugin).__name__} writes the files"
        if strategy.root_device.type not in DEVICES:
            return f"a state on {strategy.root_device} cannot be copied"
        return None if is_known() else f"torch {torch.__version__} is not as expected inside"

    @property
    def _plugin(self) -> Any:
        """What would write, were there none of ours: each callback of a trainer wraps those before it."""
        plugin = self.checkpoint_io
        while isinstance(plugin, StagedCheckpointIO):
            plugin = plugin.checkpoint_io
        return plugin

    @property
    def _writes_together(self) -> bool:
        """Each process writes what its strategy tells it to."""
        return type(self.trainer.strategy).save_checkpoint is not Strategy.save_checkpoint

    def _live(self, written: Callable[[Path], Written]) -> Snapshot:
        return self.staging.live(written, self._why_live() if self.trainer.is_global_zero else None)

    def _write_together(self, path: Path, weights_only: bool) -> Written:
        """All processes do this."""
        self._collect(path, weights_only)
        if self._error is not None:
            raise self._error
        taken, self._taken = self._taken, None
        return taken.write(path) if taken is not None else Written()

    def _collect(self, path: Path, weights_only: bool) -> None:
        self._ours, self._taken, self._error = path, None, None
        try:
            self.trainer.save_checkpoint(path, weights_only=weights_only)
        finally:
            self._ours = None

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        plain = type(self._plugin) is TorchCheckpointIO and loads_plainly(self.trainer)
        mapped = plain and can_map(path)
        begun = time.perf_counter()
        try:
            if mapped:
                self._mapped = MappedCheckpoint(path, *args, **kwargs)
            checkpoint = self._mapped.loaded if mapped else super().load_checkpoint(path, *args, **kwargs)
        except pickle.UnpicklingError as error:
            raise ResumeError(
                f"{path}: holds more than tensors and plain values, which may run code when it is loaded "
                f"({first_line(error)[:200]}); if you trust the file, pass weights_only=False to trainer.fit()"
            ) from error
        how = "mapped into memory" if mapped else "read"
        log.info("%s: %s in %.2f s", path, how, time.perf_counter() - begun)
        refuse_other_model(self.trainer, path, checkpoint)
        if mapped and self.trainer.strategy.root_device.type == "cpu":  # others copy what they are given
            self._mapped.copy_beside()
        return checkpoint

    def remove(self) -> None:
        """Be a part of the trainer's strategy no more, whoever wraps it."""
        strategy = self.trainer.strategy
        outer = strategy.checkpoint_io
        if outer is self:
            strategy.checkpoint_io = self.checkpoint_io
        while isinstance(outer, _WrappingCheckpointIO):
            if outer.checkpoint_io is self:
                outer._checkpoint_io = self.checkpoint_io  # its setter only sets what was never set
            outer = outer.checkpoint_io

    def before_optimizer_step(self) -> None:
        """To be called before each: no state may be changed that is still being copied, or that lies in a file."""
        self.staging.wait()
        if self._mapped is not None:
            self._mapped.own(self.trainer.optimizers)
            self._mapped = None

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
        if self._why_live() is None:
            return self.staging.stage(checkpoint, shapes, steady(self.trainer))
        if type(self._plugin) is TorchCheckpointIO:
            return self._live(lambda path: torch_file.write(path, checkpoint, shapes))

        def write_with_plugin(path: Path) -> Written:
            with torch_file.disk_errors(path):
                self._plugin.save_checkpoint(checkpoint, path, storage_options=storage_options)
            return Written(shapes)

        return self._live(write_with_plugin)


def _loadable(value: Any) -> Any:
    # A path in the hyperparameters would make the file unreadable for torch.load(weights_only=True).
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value) is dict or (isinstance(value, Mapping) and type(value).__module__.startswith("lightning")):
        return {key: _loadable(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_loadable(item) for item in value)
    return value
