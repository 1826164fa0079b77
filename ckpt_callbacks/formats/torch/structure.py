"""The structure of the tensors in a checkpoint, that is, everything but their numbers, pickled once for many saves."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import torch

from ..format import Shapes
from .alignment import LARGE
from .flat_state import FlatState, StatePart
from .opcodes import (
    BUILD,
    EMPTY_DICT,
    EMPTY_ORDERED_DICT,
    MARK,
    SET_ITEMS,
    TensorPieces,
    only_plain,
    plain,
    text,
)
from .tensor_facts import TensorFacts

FIRST_MEMO = 1 << 16  # the memo of a checkpoint without its tensors normally has fewer entries
_MEMO = 64  # entries in the memo for one part: the types of storages, the devices, and a few more


class Structure:
    """The structure of a `FlatState`, with the pickles of its parts.

    Args:
        flat: The state.
        first_memo: The first number in the memo of the pickle that the parts may use.

    Attributes:
        first_memo: As given.
        sizes: The size of each storage in bytes. Storages are numbered as they appear.
        addresses: The number of each storage, by the address of its object.
        small: The numbers of the storages that are small.
        whole: For each storage, the number of a tensor that consists of all of its elements; None if there is none.
        kinds: For each storage, the name of its type in the pickle.
        shapes: The names and shapes of the weights; None if they are no part.

    Raises:
        NotImplementedError: A tensor is unusual, so that only `pickle` can write it.
    """

    def __init__(self, flat: FlatState, first_memo: int = FIRST_MEMO) -> None:
        self.first_memo = first_memo
        self._facts = TensorFacts(flat.tensors)
        self.sizes, places = self._facts.sizes, self._facts.places
        self.small = [place for place, size in enumerate(self.sizes) if size < LARGE]
        self._outlines = _outlines(flat.parts)
        self._attributes = copy.deepcopy([part.attributes for part in flat.parts])
        kinds = self._facts.kinds
        self.kinds = [kinds[source] for source in self._facts.sources]
        if [self.kinds[place] for place in places] != kinds:
            raise NotImplementedError("tensors of different types share a storage")
        weights = flat.parts[0] if flat.has_weights else None
        self.shapes: Shapes | None = None
        if weights is not None:
            self.shapes = [(n, tuple(leaf.shape)) for n, leaf in zip(weights.keys, weights.leaves, strict=True)]
        self.whole: list[int | None] = [None] * len(self.sizes)
        for number, (tensor, place) in enumerate(zip(flat.tensors, places, strict=True)):
            if self.whole[place] is None and _is_whole(tensor, self.sizes[place]):
                self.whole[place] = number
        left, memos = iter(places), count(first_memo, _MEMO)
        self._pieces = [self._pickled(part, left, TensorPieces(next(memos))) for part in flat.parts]

    @property
    def addresses(self) -> Mapping[int, int]:
        return self._facts.addresses

    def take_storages(self) -> list[torch.UntypedStorage]:
        """Return the storages of the state that this object was made of. They are not kept."""
        found, self._facts.storages = self._facts.storages, []
        return found

    def storages_of(self, flat: FlatState) -> list[torch.UntypedStorage] | None:
        """Return the storages of a later state if it has this structure, so that it differs at most in plain values."""
        if self._outlines != _outlines(flat.parts) or self._attributes != [part.attributes for part in flat.parts]:
            return None
        return self._facts.storages_of(flat.tensors)

    def pickled(self, parts: Sequence[StatePart]) -> list[bytes]:
        """Return the piece of a pickle for each part, with the plain values that it has now."""
        found = zip(self._pieces, parts, strict=True)
        return [pieces[0] if len(pieces) == 1 else _with_values(pieces, part) for pieces, part in found]

    def _pickled(self, part: StatePart, places: Iterator[int], made: TensorPieces) -> list[bytes]:
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
        return [b"".join(pieces)] if part.has_only_tensors else pieces

    def _tensor(self, tensor: torch.Tensor, place: int, made: TensorPieces) -> bytes:
        return made.tensor(tensor, str(place), self.sizes[place] // tensor.element_size())


def _outlines(parts: Sequence[StatePart]) -> list[tuple[Any, ...]]:
    return [(part.kind, part.keys, None if part.has_only_tensors else _are_tensors(part.leaves)) for part in parts]


def _are_tensors(leaves: Sequence[Any]) -> list[bool]:
    return [type(leaf) is torch.Tensor for leaf in leaves]


def _is_whole(tensor: torch.Tensor, size: int) -> bool:
    """Return True if a tensor contains each element of its storage exactly once, in any order."""
    if tensor.nbytes != size or tensor.storage_offset():
        return False
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length != 1 and stride != expected:
            return not size
        expected *= length
    return True


def _with_values(pieces: Sequence[bytes], part: StatePart) -> bytes:
    filled = list(pieces)
    for number, leaf in enumerate(part.leaves):
        if type(leaf) is not torch.Tensor:
            filled[2 * number + 1] = plain(leaf)
    return b"".join(filled)
