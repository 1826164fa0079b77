"""The structure of the tensors in a checkpoint, that is, everything but their numbers, pickled once for many saves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from operator import attrgetter
from typing import Any

import torch

from .flat_state import FlatState, Part
from .opcodes import (
    BUILD,
    EMPTY_DICT,
    EMPTY_ORDERED_DICT,
    MARK,
    SET_ITEMS,
    TensorPieces,
    only_plain,
    plain,
    storage_type,
    text,
)

DEVICES = ("cpu", "cuda")  # those whose storages can be copied
FIRST_MEMO = 1 << 16  # the memo of a checkpoint without its tensors normally has fewer entries
_MEMO = 64  # entries in the memo for one part: the types of storages, the devices, and a few more

# What the pickle says about the tensors, the number of the storage of each, and the size of each storage.
_Facts = tuple[list[list[Any]], list[int], list[int]]

_OF_ONE: tuple[Callable[[torch.Tensor], Any], ...] = (
    attrgetter("dtype", "shape", "requires_grad", "device"), torch.Tensor.stride, torch.Tensor.storage_offset,
    torch.Tensor.is_neg,
)  # fmt: skip
_attributes, _address = attrgetter("__dict__"), attrgetter("_cdata")


class Structure:
    """The structure of a `FlatState`, with the pickles of its parts.

    Args:
        flat: The state.
        first_memo: The first number in the memo of the pickle that the parts may use.

    Attributes:
        first_memo: As given.
        sizes: The size of each storage in bytes. Storages are numbered as they appear.
        sources: For each storage, the number of the first tensor that uses it.
        whole: For each storage, the number of a tensor that consists of all of its elements; None if there is none.
        kinds: For each storage, the name of its type in the pickle.

    Raises:
        NotImplementedError: A tensor is unusual, so that only `pickle` can write it.
    """

    def __init__(self, flat: FlatState, first_memo: int = FIRST_MEMO) -> None:
        self.first_memo = first_memo
        self._facts = _facts(flat.tensors)
        _, places, self.sizes = self._facts
        self._outlines = _outlines(flat.parts)
        self._attributes = copy.deepcopy([part.attributes for part in flat.parts])
        self.sources: list[int] = []
        self.kinds: list[str] = []
        self.whole: list[int | None] = [None] * len(self.sizes)
        for number, (tensor, place) in enumerate(zip(flat.tensors, places, strict=True)):
            kind = _kind(tensor)
            if place == len(self.sources):
                self.sources.append(number)
                self.kinds.append(kind)
            if self.kinds[place] != kind:
                raise NotImplementedError("tensors of different types share a storage")
            if self.whole[place] is None and _is_whole(tensor, self.sizes[place]):
                self.whole[place] = number
        left, memos = iter(places), count(first_memo, _MEMO)
        self._pieces = [self._pickled(part, left, TensorPieces(next(memos))) for part in flat.parts]

    def fits(self, flat: FlatState) -> bool:
        """Return True if a later state has this structure, so that it differs at most in numbers and plain values."""
        return (
            self._outlines == _outlines(flat.parts)
            and self._facts == _facts(flat.tensors)
            and self._attributes == [part.attributes for part in flat.parts]
        )

    def pickled(self, parts: Sequence[Part]) -> list[bytes]:
        """Return the piece of a pickle for each part, with the plain values that it has now."""
        found = zip(self._pieces, parts, strict=True)
        return [pieces[0] if len(pieces) == 1 else _with_values(pieces, part) for pieces, part in found]

    def _pickled(self, part: Part, places: Iterator[int], made: TensorPieces) -> list[bytes]:
        """Return the piece before each leaf and the piece of the leaf, and then the end. Plain leaves stay empty.

        Without plain leaves, return all of them as one piece.
        """
        pieces: list[bytes] = []
        before = (EMPTY_DICT if part.kind is dict else EMPTY_ORDERED_DICT) + MARK
        leaves = iter(part.leaves)
        for key, names in part.groups():
            before += b"" if key is None else plain(key) + EMPTY_DICT + MARK
            for name in names:
                leaf = next(leaves)
                pieces.append(before + text(name))
                pieces.append(self._tensor(leaf, next(places), made) if type(leaf) is torch.Tensor else b"")
                before = b""
            before += b"" if key is None else SET_ITEMS
        end = before + SET_ITEMS
        if part.attributes:
            if (attributes := only_plain(part.attributes)) is None:
                raise NotImplementedError("a dictionary with unusual attributes")
            end += attributes + BUILD
        pieces.append(end)
        return [b"".join(pieces)] if set(map(type, part.leaves)) == {torch.Tensor} else pieces

    def _tensor(self, tensor: torch.Tensor, place: int, made: TensorPieces) -> bytes:
        location = torch.serialization.location_tag(tensor.untyped_storage())
        return made.tensor(tensor, str(place), self.sizes[place] // tensor.element_size(), location)


def _facts(tensors: Sequence[torch.Tensor]) -> _Facts:
    # By `map`, because a loop over thousands of tensors takes twice as long.
    each = [list(map(of_one, tensors)) for of_one in _OF_ONE]
    each.append(list(map(bool, map(_attributes, tensors))))
    storages = list(map(torch.Tensor.untyped_storage, tensors))
    seen: dict[int, int] = {}
    places = [seen.setdefault(address, len(seen)) for address in map(_address, storages)]
    distinct = dict(zip(places, storages, strict=True))
    return each, places, [distinct[place].nbytes() for place in range(len(seen))]


def _outlines(parts: Sequence[Part]) -> list[tuple[Any, ...]]:
    return [(part.kind, part.keys, [type(leaf) is torch.Tensor for leaf in part.leaves]) for part in parts]


def _kind(tensor: torch.Tensor) -> str:
    kind = storage_type(tensor.dtype)
    special = tensor.requires_grad or tensor.is_neg() or tensor.__dict__
    if kind is None or special or tensor.device.type not in DEVICES:
        raise NotImplementedError("an unusual tensor")
    return kind


def _is_whole(tensor: torch.Tensor, size: int) -> bool:
    """Return True if a tensor contains each element of its storage exactly once, in any order."""
    if tensor.numel() * tensor.element_size() != size or tensor.storage_offset():
        return False
    expected = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length != 1 and stride != expected:
            return not size
        expected *= length
    return True


def _with_values(pieces: Sequence[bytes], part: Part) -> bytes:
    filled = list(pieces)
    for number, leaf in enumerate(part.leaves):
        if type(leaf) is not torch.Tensor:
            filled[2 * number + 1] = plain(leaf)
    return b"".join(filled)
