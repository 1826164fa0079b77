"""Copies of the storages of a checkpoint in an arena."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from ..formats.torch.alignment import LARGE
from ..formats.torch.checkpoint_pickler import PickledParts
from ..formats.torch.pickler import Pickled
from ..formats.torch.small_members import SmallMembers
from ..formats.torch.structure import Structure
from ..formats.torch.writer import TorchFile, bytes_of, small_members
from ..memory.pages import address_of
from ..memory.parallel_copy import Copy, copy_memory
from .gpu_copies import DeviceCopies, PinnedArena


@dataclass(frozen=True)
class StorageCopies:
    """The copies of one checkpoint's storages.

    Attributes:
        content: What the file holds.
        held: The copy of each storage, in the order of `Pickled.storages`.
        device: The copies from a device that were launched; None if there are none.
    """

    content: TorchFile
    held: Sequence[bytes | memoryview]
    device: DeviceCopies | None


class SmallStorages:
    """The block of an arena in which the small storages of a structure lie as they do in the file.

    An arena keeps this object from save to save, because creating a view of each storage takes longer than copying it.

    Args:
        structure: The structure.
        members: The members for its small storages.
        block: Page-aligned memory of the size of the members.
        tensors: The tensors of a checkpoint with this structure.

    Attributes:
        structure: As given.
        members: As given.
        block: As given.
        pieces: The memory of each storage, by its place in the structure; empty for large ones.
    """

    def __init__(
        self, structure: Structure, members: SmallMembers, block: memoryview, tensors: Sequence[torch.Tensor]
    ) -> None:  # fmt: skip
        self.structure, self.members, self.block = structure, members, block
        self.pieces: list[memoryview] = [memoryview(b"")] * len(structure.sizes)
        for place, piece in zip(structure.small, members.places_in(block), strict=True):
            self.pieces[place] = piece
        self._whole: list[int] = []  # the numbers of the tensors that are copied as tensors
        self._views: list[torch.Tensor] = []  # the targets of these copies
        self._others: list[int] = []  # the places of the storages that are copied as bytes, or from a device
        with torch.inference_mode(False):  # tensors of that mode could not be changed outside of it
            self._make_views(tensors)

    def _make_views(self, tensors: Sequence[torch.Tensor]) -> None:
        block = self.block
        memory = torch.frombuffer(block, dtype=torch.uint8).untyped_storage() if len(block) else None
        wholes: dict[torch.dtype, torch.Tensor] = {}  # the block as a tensor of each type
        for place, begin in zip(self.structure.small, self.members.begins, strict=True):
            number = self.structure.whole[place]
            if memory is None or number is None or not tensors[number].is_cpu:
                self._others.append(place)
            elif self.structure.sizes[place]:
                like = tensors[number]
                whole = wholes.get(like.dtype)
                if whole is None:
                    whole = wholes[like.dtype] = torch.empty(0, dtype=like.dtype, device="cpu").set_(memory)
                self._views.append(whole.as_strided(like.shape, like.stride(), begin // like.element_size()))
                self._whole.append(number)

    def copy_from(
        self, tensors: Sequence[torch.Tensor], storages: Sequence[torch.UntypedStorage]
    ) -> list[tuple[torch.UntypedStorage, memoryview]]:
        """Copy storages from whole tensors in host memory.

        Args:
            tensors: The tensors of a checkpoint with this structure.
            storages: Its storages.

        Returns:
            The other storages, each with its memory here.
        """
        if self._views:  # in one call, which releases the interpreter's lock once
            torch._foreach_copy_(self._views, [tensors[number] for number in self._whole])
        return [(storages[place], self.pieces[place]) for place in self._others]


def copy_storages(found: Pickled, arena: PinnedArena, step_only: Collection[int]) -> StorageCopies:
    """Copy each distinct storage once.

    Args:
        found: The checkpoint.
        arena: The memory.
        step_only: Addresses of storages that only an optimizer step changes; see `DeviceCopies`.

    Raises:
        NotEnoughMemory: The machine has too little memory.
        NotImplementedError: A storage has a size, but no memory.
    """
    parts = found if isinstance(found, PickledParts) else None
    sizes = [] if parts is None else parts.structure.sizes
    kept = _kept(arena, parts)
    arena.kept = None  # unless it is used again, what follows may lie elsewhere in the same memory
    members = kept.members if kept is not None else small_members(sizes)
    others = range(len(sizes), len(found.storages))  # those outside of the structure
    large = [place for place in others if needs_arena(found.storages[place])]
    if members.count < len(sizes):
        large += [place for place, size in enumerate(sizes) if size >= LARGE]
    block, *pieces = arena.carve([members.size, *[found.storages[place].nbytes() for place in large]])
    pairs = [(found.storages[place], piece) for place, piece in zip(large, pieces, strict=True)]
    held: list[bytes | memoryview] = []
    if parts is not None:
        storages = kept
        if storages is None or storages.block.obj is not block.obj:
            storages = SmallStorages(parts.structure, members, block, parts.tensors)
        arena.kept = storages
        held += storages.pieces
        pairs += storages.copy_from(parts.tensors, found.storages)
    # A few bytes are not worth a page, nor the release of the interpreter's lock that comes with memmove.
    held += [b"" if needs_arena(found.storages[place]) else bytes_of(found.storages[place]) for place in others]
    written: list[bytes | memoryview | None] = [None] * len(sizes)
    for place, piece in zip(large, pieces, strict=True):
        held[place] = piece
        if place < len(sizes):
            written[place] = piece
    # Each storage of a structure has one name, its place. Any other name is for a view of a different type.
    written += [held[place] for place in found.members[len(sizes) :]]
    device = _copy(pairs, arena, step_only)
    return StorageCopies(TorchFile(found.data, written, members, block), held, device)


def needs_arena(storage: torch.UntypedStorage) -> bool:
    """Return True if a storage gets its own memory in an arena. Small storages in host memory do not."""
    return storage.nbytes() >= LARGE or storage.device.type == "cuda"


def _copy(
    pairs: Sequence[tuple[torch.UntypedStorage, memoryview]], arena: PinnedArena, step_only: Collection[int]
) -> DeviceCopies | None:
    device, here = None, list[Copy]()
    if any(storage.device.type == "cuda" for storage, _ in pairs):
        arena.pin()
        device = DeviceCopies(step_only)
    for storage, piece in pairs:
        if not len(piece):
            continue
        if device is not None and storage.device.type == "cuda":
            device.add(storage, piece)
        elif address := storage.data_ptr():
            here.append((address_of(piece), address, len(piece)))
        else:
            raise NotImplementedError(f"a storage on {storage.device} without memory cannot be copied")
    # Not by torch: its threads wait for each other at each tensor, which takes ten times as long when cores are busy.
    copy_memory(here)
    if device is not None:
        device.mark_end()
    return device


def _kept(arena: PinnedArena, parts: PickledParts | None) -> SmallStorages | None:
    """Return what the last save with this arena has kept, if this one has the same structure."""
    kept = arena.kept
    return kept if isinstance(kept, SmallStorages) and parts is not None and kept.structure is parts.structure else None
