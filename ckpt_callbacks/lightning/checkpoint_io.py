"""The plugin that writes this package's checkpoints in place of Lightning, and loads them."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io.async_plugin import AsyncCheckpointIO
from lightning.pytorch.plugins.io.wrapper import _WrappingCheckpointIO
from lightning.pytorch.strategies import Strategy

from ..errors import PolicyError, ResumeError
from ..formats import Written
from ..formats.reduction import FROZEN
from ..formats.torch import format as torch_zip
from ..formats.torch import writer as torch_file
from ..formats.torch.check import refused
from ..formats.torch.pickler import is_known
from ..formats.torch.quantized_state import restored
from ..formats.torch.tensor_facts import DEVICES
from ..run.resumed_parts import ResumedParts
from ..run.run import Run
from ..run.snapshot import LiveSnapshot, Snapshot
from ..run.source import Embedded
from ..run.view import RunView
from ..torch.mapped_checkpoint import MappedCheckpoint, can_map
from ..torch.parameter_names import Names, ParameterNames
from ..torch.staging import TorchStaging, expected_size
from ..torch.state_shapes import state_shapes
from ..torch.trained_tensors import are_finite, trained_tensors
from . import refused_types
from .compiled_modules import compiled_parts, fit_names, plain_names, write_plain_names
from .finite_weights import weights_are_finite
from .fit_call import is_resuming
from .hyperparameters import Hyperparameters
from .model_mismatch import loads_plainly, refuse_other_model
from .native_file import native_file
from .parts import select
from .remedies import only_weights
from .step_only import step_only
from .unloadable_weights import UnloadableWeights

log = logging.getLogger("ckpt_callbacks")

_IN_MEMORY = Path("snapshot")  # stands for a file while Lightning collects a checkpoint that is to be copied


@dataclass
class _Collector:
    """One call of `trainer.save_checkpoint` by this package. Lightning calls back with what it has collected.

    Attributes:
        path: The file that this package writes.
        embedded: What the file holds in addition to Lightning's own state.
        snapshot: What was collected; None on processes that get no checkpoint from Lightning.
        error: Why nothing was collected.
        names: The names of the module's parameters, once they are looked for.
    """

    path: Path
    embedded: Embedded
    snapshot: Snapshot | None = None
    error: Exception | None = None
    names: Names | None = None


def _plugin_of(plugin: Any) -> Any:
    return plugin


class StagedCheckpointIO(_WrappingCheckpointIO):
    """Writes this package's files straight into place; passes everything else to the wrapped plugin.

    Lightning's own writer goes through ``$TMPDIR``, which may be on another file system.

    Args:
        trainer: The trainer whose strategy has the plugin.
        staging: The memory for the snapshots.
        view: The checkpoints of the run directory.

    Attributes:
        trainer: As given.
        staging: As given.
        hyperparameters: The hyperparameters of the module and the data module.
        weights: Finds the weights that a resume will refuse.
        only: A checkpoint, or None for any, and the parts of it that a resume restores.
    """

    def __init__(self, trainer: Trainer, staging: TorchStaging, view: RunView) -> None:
        super().__init__(trainer.strategy.checkpoint_io)
        self.trainer, self.staging, self._view, self.hyperparameters = trainer, staging, view, Hyperparameters()
        self.weights = UnloadableWeights(trainer)
        self.only: tuple[str | None, ResumedParts] = (None, ResumedParts())
        self._names = ParameterNames()
        self._collector: _Collector | None = None
        self._is_prepared = False
        self._mapped: MappedCheckpoint | None = None  # what was resumed from, until the first optimizer step

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return _plugin_of, (self.checkpoint_io,)  # a copy of the trainer trains without this fit's memory and threads

    # -- as a part of the strategy -----------------------------------------------------------------------------------

    def install(self) -> None:
        """Wrap the plugin of the trainer's strategy.

        Raises:
            PolicyError: The plugin returns before a file is written.
        """
        inner = self.checkpoint_io
        while inner is not None:
            if isinstance(inner, AsyncCheckpointIO):
                raise PolicyError(
                    "Trainer(plugins=AsyncCheckpointIO): it returns before the file exists, so nothing could be "
                    "verified; remove the plugin"
                )
            inner = getattr(inner, "checkpoint_io", None)
        self.trainer.strategy.checkpoint_io = self

    def close(self) -> None:
        """Finish pending copies, release the memory, and stop taking part in saves and loads."""
        self.before_optimizer_step()
        self.staging.release()
        self._uninstall()

    def _uninstall(self) -> None:
        """Remove this plugin from the strategy, wherever it is in the chain."""
        strategy = self.trainer.strategy
        outer = strategy.checkpoint_io
        if outer is self:
            strategy.checkpoint_io = self.checkpoint_io
        while isinstance(outer, _WrappingCheckpointIO):
            if outer.checkpoint_io is self:
                outer._checkpoint_io = self.checkpoint_io  # its setter has no effect once a value is set
            outer = outer.checkpoint_io

    @property
    def _plugin(self) -> Any:
        """The user's plugin, below any wrappers of this package."""
        plugin = self.checkpoint_io
        while isinstance(plugin, StagedCheckpointIO):
            plugin = plugin.checkpoint_io
        return plugin

    # -- saving ------------------------------------------------------------------------------------------------------

    def snapshot(self, embedded: Embedded) -> Snapshot:
        """Return the current state of training, for a checkpoint. All processes call it together.

        Args:
            embedded: What goes into the file in addition to Lightning's own state.
        """
        if self._writes_together:
            return self._live(lambda path: self._write_together(path, embedded))
        # With several processes, only the first one receives the checkpoint.
        return self._collect(_IN_MEMORY, embedded) or LiveSnapshot(lambda path: Written())

    def names(self) -> Names:
        """Return the names of the module's parameters. While Lightning collects a checkpoint, they stay the same."""
        collector = self._collector
        if collector is None:
            return self._names.of(self.trainer.lightning_module)
        if collector.names is None:
            collector.names = self._names.of(self.trainer.lightning_module)
        return collector.names

    @property
    def embedded(self) -> Embedded | None:
        """What goes into the checkpoint that Lightning is collecting for this plugin; None while it collects none."""
        return self._collector.embedded if self._collector is not None else None

    def prepare(self, run: Run) -> None:
        """Allocate memory for copies, once an optimizer step is done and the size of a checkpoint is known."""
        if self._is_prepared:
            return
        self._is_prepared = True
        if self.trainer.is_global_zero and self.staging.copies and self._why_live() is None:
            optimizers = () if run.settings.contents == "weights" else self.trainer.optimizers
            size = expected_size(self.trainer.lightning_module, optimizers)
            self.staging.prepare(size)

    def _why_live(self) -> str | None:
        """Return why no copy can be made; None if one can."""
        strategy, plugin = self.trainer.strategy, self._plugin
        if self._writes_together:
            return f"{type(strategy).__name__} has its own way to save"
        if type(plugin) is not TorchCheckpointIO:
            return f"{type(plugin).__name__} writes the files"
        if strategy.root_device.type not in DEVICES:
            return f"a state on {strategy.root_device} cannot be copied"
        return None if is_known() else f"the internals of torch {torch.__version__} are not as expected"

    @property
    def _writes_together(self) -> bool:
        """Whether each process writes a part, as its strategy decides."""
        return type(self.trainer.strategy).save_checkpoint is not Strategy.save_checkpoint

    def _live(self, write: Callable[[Path], Written], trained: Sequence[torch.Tensor] = ()) -> Snapshot:
        def written(path: Path) -> Written:
            found = write(path)
            return replace(found, finite=found.finite and are_finite(trained))

        return self.staging.live(written, self._why_live() if self.trainer.is_global_zero else None)

    def _write_together(self, path: Path, embedded: Embedded) -> Written:
        """Write a part. All processes call it together."""
        # A process sees only its own part, and the record is that of the first process.
        finite = weights_are_finite(self.trainer)
        snapshot = self._collect(path, embedded)
        written = snapshot.write(path) if snapshot is not None else Written()
        return replace(written, finite=written.finite and finite)

    def _collect(self, path: Path, embedded: Embedded) -> Snapshot | None:
        """Have Lightning collect a checkpoint; return None on processes that do not get one."""
        self._collector = collector = _Collector(path, embedded)
        try:
            self.trainer.save_checkpoint(path, weights_only=embedded.weights_only)
        finally:
            self._collector = None
        if collector.error is not None:
            raise collector.error
        return collector.snapshot

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        collector = self._collector
        if collector is None or Path(path) != collector.path:
            super().save_checkpoint(checkpoint, path, storage_options=storage_options)
            return
        try:
            collector.snapshot = self._take(checkpoint, collector.embedded, storage_options)
        except Exception as error:  # kept for the caller: the other processes would wait at a barrier forever
            collector.error = error

    def _take(self, checkpoint: dict[str, Any], embedded: Embedded, storage_options: Any | None) -> Snapshot:
        self.hyperparameters.convert(checkpoint)
        checkpoint[torch_zip.KEY] = {**checkpoint.get(torch_zip.KEY, {}), "record": embedded.record}
        saved, names = checkpoint["state_dict"], self.names()
        trained = trained_tensors(names.trained, saved)
        compiled = compiled_parts(self.trainer.lightning_module, names.kinds)
        if embedded.names:
            checkpoint[torch_zip.KEY][FROZEN] = plain_names(names.frozen_in_file, compiled)
        write_plain_names(checkpoint, compiled)
        if self._why_live() is None:
            snapshot = self.staging.stage(checkpoint, step_only(self.trainer), trained)
            self.weights.check(saved, self.staging.shapes)
            return snapshot
        shapes = state_shapes(checkpoint["state_dict"])
        self.weights.check(saved, shapes)
        if type(self._plugin) is TorchCheckpointIO:
            return self._live(lambda path: torch_file.write(path, checkpoint, shapes), trained)

        def write_with_plugin(path: Path) -> Written:
            with torch_file.disk_errors(path):
                self._plugin.save_checkpoint(checkpoint, path, storage_options=storage_options)
            return Written(shapes)

        return self._live(write_with_plugin, trained)

    # -- loading -----------------------------------------------------------------------------------------------------

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        plain = type(self._plugin) is TorchCheckpointIO and loads_plainly(self.trainer)
        begun, mapped = time.perf_counter(), None
        try:
            with native_file(path) as file:
                if plain and can_map(file):
                    self._mapped = mapped = MappedCheckpoint(file, *args, **kwargs)
                checkpoint = super().load_checkpoint(file, *args, **kwargs) if mapped is None else mapped.loaded
        except pickle.UnpicklingError as error:
            way = refused_types.way_to_load() if is_resuming() else refused_types.way_to_save()
            raise ResumeError(f"{path}: holds {refused(error)}, which may run code when it is loaded; {way}") from error
        how = "read" if mapped is None else "mapped into memory"
        log.info("%s: %s in %.2f s", path, how, time.perf_counter() - begun)
        wanted, parts = self.only
        if parts != ResumedParts() and wanted in (None, str(path)) and is_resuming():
            checkpoint = select(checkpoint, parts)
            log.warning("%s: resuming only from its %s, as requested", path, parts)
        if is_resuming() and self.trainer.strategy.lightning_restore_optimizer and "optimizer_states" not in checkpoint:
            raise only_weights(self._view, path)
        checkpoint = restored(checkpoint)
        fit_names(checkpoint, self.trainer.lightning_module)
        refuse_other_model(self.trainer, path, checkpoint)
        if mapped is not None and self.trainer.strategy.root_device.type == "cpu":  # others copy what they receive
            mapped.copy_in_background()
        return checkpoint

    def before_optimizer_step(self) -> None:
        """Protect data that is still being copied, or is in a mapped file, from changes. Call it before each step."""
        self.staging.wait()
        if self._mapped is not None:
            self._mapped.detach(self.trainer.optimizers)
            self._mapped = None
