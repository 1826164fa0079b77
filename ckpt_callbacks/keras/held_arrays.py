"""The arrays of a state, which a file holds outside its JSON."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from ..formats.keras.own_arrays import packed_offsets
from ..memory.pages import address_of
from ..memory.parallel_copy import Copy, copy_memory
from .model.copy import address


class HeldArrays:
    """Arrays that a file holds outside its JSON, each one once. They must not change until they are copied."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []
        self._addresses: list[int | None] = []  # of each array; None if it is not contiguous
        self._numbers: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._arrays)

    def add(self, array: np.ndarray) -> int:
        """Hold an array, and return its number."""
        place, is_contiguous = address(array), array.flags.c_contiguous
        layout = None if is_contiguous else (array.shape, array.strides)
        number = self._numbers.setdefault((place, array.nbytes, layout), len(self._arrays))
        if number == len(self._arrays):
            self._arrays.append(array)
            self._addresses.append(place if is_contiguous else None)
        return number

    @property
    def sizes(self) -> list[int]:
        """The size of each array in bytes."""
        return [array.nbytes for array in self._arrays]

    @property
    def nbytes(self) -> int:
        """The memory that `copy_into` needs, in bytes."""
        return packed_offsets(self.sizes)[1]

    def copy_into(self, memory: memoryview) -> None:
        """Copy the arrays into memory of `nbytes` bytes; see `packed_offsets`."""
        if not self._arrays:
            return
        start, sizes, plain = address_of(memory), self.sizes, list[Copy]()
        offsets, _ = packed_offsets(sizes)
        for array, place, offset, size in zip(self._arrays, self._addresses, offsets, sizes, strict=True):
            if place is not None:
                plain.append((start + offset, place, size))
            else:
                np.copyto(np.ndarray(array.shape, array.dtype, memory, offset), array)
        copy_memory(plain)
