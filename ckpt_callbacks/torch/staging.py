"""Takes a training's state in a moment, to be written while training goes on."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from ..errors import NotEnoughMemory, first_line
from ..formats import Shapes, Written
from ..formats.torch import file as torch_file
from ..formats.torch.pickler import Pickled, pickled
from ..memory.copy import Copy, copy_memory
from ..memory.pages import round_up
from ..memory.pool import ArenaPool
from ..run.snapshot import LiveSnapshot, Snapshot
from .cuda import DeviceCopies, PinnedArena

log = logging.getLogger("ckpt_callbacks")
DEVICES = ("cpu", "cuda")  # from which a copy can be made


class TorchStaging:
    """The memory that one callback copies checkpoints into.

    Args:
        staging: ``"memory"``: copy the state. ``"none"``: copy nothing; training waits until a file is written.

    Attributes:
        copies: The former.
    """

    def __init__(self, staging: str = "memory") -> None:
        self.copies = staging == "memory"
        self._arenas = ArenaPool(PinnedArena)
        self._latest: DeviceCopies | None = None
        self._said = False

    def prepare(self, size: int) -> None:
        """Get the memory for one snapshot of so many bytes, on any thread; see `expected_size`."""
        self._arenas.prepare(size)

    def live(self, written: Callable[[Path], Written], why: str | None) -> Snapshot:
        """A snapshot of the training's own memory.

        Args:
            written: Writes it. why: A copy cannot be made; said once, unless nobody wished one.
        """

        def write(path: Path) -> Written:
            found = written(path)
            if self.copies and why is not None and not self._said:
                self._said = True  # after the save, because what cannot be saved at all is another matter
                log.warning('%s; training waits until each checkpoint is written, as with staging="none"', why)
            return found

        return LiveSnapshot(write)

    def stage(self, checkpoint: Any, shapes: Shapes = (), steady: Collection[int] = ()) -> Snapshot:
        """Copy an object that `torch.save` takes, so that nothing that happens later changes what will be written.

        Args:
            checkpoint: The object. shapes: see `Written`. steady: see `DeviceCopies`.

        Returns:
            A snapshot; a live one where it cannot, or shall not, be copied.
        """

        def written(path: Path) -> Written:
            return torch_file.write(path, checkpoint, shapes)

        if not self.copies:
            return self.live(written, None)
        try:
            found = pickled(checkpoint)
            _refuse_unknown(found)
        except Exception as error:  # torch.save says what is wrong with it, or knows a way
            return self.live(written, first_line(error))
        arena = self._arenas.take()
        try:
            content, copies = _copy(found, arena, steady)
        except BaseException as error:
            self._arenas.give_back(arena)
            if not isinstance(error, NotEnoughMemory):
                raise
            return self.live(written, str(error))
        self._latest = copies
        return _Staged(content, shapes, copies, lambda: self._arenas.give_back(arena))

    def wait(self) -> None:
        """What is being copied from a device must not be overtaken by what the training does from now on."""
        copies, self._latest = self._latest, None
        if copies is not None:
            copies.hold_back()

    def release(self) -> None:
        """Give all memory back, also that of snapshots that are released later."""
        self._arenas.release()


def expected_size(trainer: Trainer, weights_only: bool) -> int:
    """Bytes that an arena needs for a checkpoint of a trainer, as far as its model and optimizers tell.

    Before the first optimizer step the optimizers have no state yet, and count for nothing.
    """
    tensors = [*trainer.lightning_module.parameters(), *trainer.lightning_module.buffers()]
    if not weights_only:
        states = [state for optimizer in trainer.optimizers for state in optimizer.state.values()]
        tensors += [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]
    storages = {s.data_ptr(): s for s in map(_storage, tensors) if s is not None}
    return sum(round_up(s.nbytes()) for s in storages.values() if _has_a_place(s))


def steady(trainer: Trainer) -> set[int]:
    """Addresses of the storages on a device that only an optimizer step changes: what the optimizers hold.

    Other parameters, such as a momentum encoder's, may change in any hook. With manual optimization a step may be
    made that no hook tells of.
    """
    if trainer.strategy.root_device.type != "cuda" or not trainer.lightning_module.automatic_optimization:
        return set()
    found = []
    for optimizer in trainer.optimizers:
        found += [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for state in optimizer.state.values():
            found += [value for value in state.values() if isinstance(value, torch.Tensor)]
    return {s.data_ptr() for s in map(_storage, found) if s is not None}


class _Staged:
    """A checkpoint in memory of its own."""

    live = False

    def __init__(
        self, content: torch_file.Content, shapes: Shapes, copies: DeviceCopies | None, done: Callable[[], None]
    ) -> None:
        self._content: torch_file.Content | None = content
        self._shapes, self._copies, self._done = shapes, copies, done

    def write(self, path: Path) -> Written:
        if self._copies is not None:
            self._copies.finish()
        return Written(self._shapes, *self._content.write(path))

    def release(self) -> None:
        try:
            if self._copies is not None:
                self._copies.finish()
        except Exception as error:  # the device is broken, which the training learns of itself
            log.warning("a copy from a device did not end: %s", first_line(error))
        self._content = None  # the arena may be another one's as soon as it is given back
        self._done()


def _refuse_unknown(found: Pickled) -> None:
    for storage in found.storages:
        if storage.device.type not in DEVICES or (storage.nbytes() and not storage.data_ptr()):
            raise NotImplementedError(f"a storage on {storage.device} cannot be copied")


def _copy(
    found: Pickled, arena: PinnedArena, steady: Collection[int]
) -> tuple[torch_file.Content, DeviceCopies | None]:
    """What goes into the file, each distinct storage copied once."""
    large = [s for s in found.storages if _has_a_place(s)]
    pieces = dict(zip((s._cdata for s in large), arena.carve([s.nbytes() for s in large]), strict=True))
    copies = None
    if any(s.device.type == "cuda" for s in large):
        arena.pin()
        copies = DeviceCopies(steady)
    held: list[bytes | memoryview] = []
    here: list[Copy] = []
    for storage in found.storages:
        piece = pieces.get(storage._cdata)
        if piece is None:
            # A few bytes: not worth a page, nor giving up the interpreter's lock as memmove does.
            held.append(bytes(torch_file.in_memory(storage)))
            continue
        if storage.device.type == "cuda":
            copies.add(storage, piece)
        else:
            here.append((ctypes.addressof(ctypes.c_char.from_buffer(piece)), storage.data_ptr(), len(piece)))
        held.append(piece)
    # Not by torch, whose threads wait for each other at each tensor: ten times longer where cores are taken.
    copy_memory(here)
    if copies is not None:
        copies.launched()
    return torch_file.Content(found.data, [held[place] for place in found.members]), copies


def _has_a_place(storage: torch.UntypedStorage) -> bool:
    """In the arena; what is small is held apart, if a device does not have to copy it."""
    return storage.nbytes() >= torch_file.LARGE or storage.device.type == "cuda"


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse ones, and those that have none yet
        return None
