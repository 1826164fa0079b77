"""Copies of a training run's state in reused host memory, to be written while training continues."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..errors import NotEnoughMemory, first_line
from ..formats import Shapes, Written
from ..formats.finite import Numbers, all_finite
from ..formats.torch import writer as torch_file
from ..formats.torch.alignment import LARGE
from ..formats.torch.checkpoint_pickler import CheckpointPickler, PickledParts
from ..formats.torch.tensor_facts import DEVICES
from ..formats.torch.writer import small_members
from ..memory.pages import round_up
from ..memory.pool import ArenaPool
from ..run.snapshot import LiveSnapshot, Snapshot
from .gpu_copies import DeviceCopies, PinnedArena
from .state_shapes import state_shapes
from .storage_copies import copy_storages
from .trained_tensors import are_finite, numbers_of

log = logging.getLogger("ckpt_callbacks")


class TorchStaging:
    """The memory that one callback copies checkpoints into.

    Args:
        staging: ``"memory"`` to copy the state, ``"none"`` to copy nothing and wait until each file is written.

    Attributes:
        copies: Whether the state is copied.
        shapes: The names and shapes of the weights in the last checkpoint, for which its file is searched.
    """

    def __init__(self, staging: str = "memory") -> None:
        self.copies = staging == "memory"
        self.shapes: Shapes = ()
        self._arenas = ArenaPool(PinnedArena)
        self._pickler = CheckpointPickler()
        self._latest: DeviceCopies | None = None
        self._warned = False

    def prepare(self, size: int) -> None:
        """Begin to prepare the memory for one snapshot of ``size`` bytes; see `expected_size`."""
        self._arenas.prepare(size)

    def live(self, written: Callable[[Path], Written], why: str | None) -> Snapshot:
        """Return a snapshot that reads the training run's own memory.

        Args:
            written: Writes the file.
            why: The reason why no copy can be made. It is logged once, unless no copy was requested.
        """

        def write(path: Path) -> Written:
            found = written(path)
            if self.copies and why is not None and not self._warned:
                self._warned = True  # after the save, because a failed save reports its own error
                log.warning('%s; training waits until each checkpoint is written, as with staging="none"', why)
            return found

        return LiveSnapshot(write)

    def stage(
        self,
        checkpoint: Any,
        step_only: Collection[int] = (),
        trained: Sequence[torch.Tensor] = (),
    ) -> Snapshot:
        """Copy an object, so that later changes do not affect what is written.

        Args:
            checkpoint: Anything that `torch.save` takes. The file of a dictionary must contain its ``state_dict``.
            step_only: Addresses of storages that only an optimizer step changes; see `DeviceCopies`.
            trained: The weights in it that are searched for NaN and infinities.

        Returns:
            The snapshot; a live one if the object cannot be copied, or no copy was requested.
        """

        def live(why: str | None) -> Snapshot:
            self.shapes = shapes = state_shapes(weights)

            def written(path: Path) -> Written:
                found = torch_file.write(path, checkpoint, shapes, self._pickler.pickled)
                return replace(found, finite=are_finite(trained))

            return self.live(written, why)

        weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
        if not self.copies:
            return live(None)
        try:
            found = self._pickler.pickled(checkpoint)
            known, shapes = 0, None
            if isinstance(found, PickledParts):
                known, shapes = len(found.structure.sizes), found.structure.shapes
            _refuse_unknown(found.storages[known:])
        except Exception as error:  # torch.save can write it, or says what is wrong with it
            return live(first_line(error))
        arena = self._arenas.take()
        try:
            copies = copy_storages(found, arena, step_only)
        except BaseException as error:
            self._arenas.give_back(arena)
            if not isinstance(error, (NotEnoughMemory, NotImplementedError)):
                raise
            return live(str(error))
        self._latest, self.shapes = copies.device, state_shapes(weights) if shapes is None else shapes

        def numbers() -> Iterator[Numbers]:  # found when the file is written, and not on this thread
            places = (storage._cdata for storage in found.storages)
            return numbers_of(trained, dict(zip(places, copies.held, strict=True)))

        return _Staged(copies.content, self.shapes, numbers, copies.device, lambda: self._arenas.give_back(arena))

    def wait(self) -> None:
        """Make training's later work on a device wait for the copies from that device."""
        copies, self._latest = self._latest, None
        if copies is not None:
            copies.hold_back()

    def release(self) -> None:
        """Give back all memory, including that of snapshots that are released later."""
        self._arenas.release()


def expected_size(module: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer] = ()) -> int:
    """Return the number of bytes that an arena needs for a checkpoint, as far as that is known in advance.

    Args:
        module: The model.
        optimizers: The optimizers whose state is saved. Before their first step they have none, and add nothing.
    """
    tensors = [*module.parameters(), *module.buffers(), *_states(optimizers)]
    storages = {s.data_ptr(): s for s in map(_storage, tensors) if s is not None}
    large = [storage.nbytes() for storage in storages.values() if storage.nbytes() >= LARGE]
    small = [storage.nbytes() for storage in storages.values() if storage.nbytes() < LARGE]
    return sum(map(round_up, large)) + round_up(small_members(small).size)


def step_only_storages(optimizers: Sequence[torch.optim.Optimizer]) -> set[int]:
    """Return the addresses of the storages that only an optimizer step changes: those held by the optimizers.

    Other parameters, such as a momentum encoder's, may change at any time.
    """
    parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    return {s.data_ptr() for s in map(_storage, [*parameters, *_states(optimizers)]) if s is not None}


def _states(optimizers: Sequence[torch.optim.Optimizer]) -> list[torch.Tensor]:
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    return [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]


class _Staged:
    """A checkpoint in an arena."""

    live = False

    def __init__(
        self,
        content: torch_file.TorchFile,
        shapes: Shapes,
        trained: Callable[[], Iterable[Numbers]],
        copies: DeviceCopies | None,
        done: Callable[[], None],
    ) -> None:
        self._content: torch_file.TorchFile | None = content
        self._shapes, self._trained, self._copies, self._done = shapes, trained, copies, done

    def write(self, path: Path) -> Written:
        if self._copies is not None:
            self._copies.finish()
        assert self._content is not None  # nothing is written after the release
        return Written(self._shapes, *self._content.write(path), finite=all_finite(self._trained()))

    def release(self) -> None:
        try:
            if self._copies is not None:
                self._copies.finish()
        except Exception as error:  # the device is broken, and training will notice that itself
            log.warning("a copy from a device failed: %s", first_line(error))
        self._content, self._trained = None, tuple  # the views of the arena are dropped before the arena is reused
        self._done()


def _refuse_unknown(storages: Sequence[torch.UntypedStorage]) -> None:
    for storage in storages:
        if storage.device.type not in DEVICES or (storage.nbytes() and not storage.data_ptr()):
            raise NotImplementedError(f"a storage on {storage.device} cannot be copied")


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse tensors, and tensors that have no memory yet
        return None
