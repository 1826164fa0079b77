"""The arrays of a state, which a file holds outside its JSON."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from ..formats.keras.own_arrays import packed_offsets
from ..memory.parallel_copy import copy_memory
from .model.copy import address


class HeldArrays:
    """Arrays that a file holds outside its JSON, each one once. They must not change until they are copied."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []
        self._numbers: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._arrays)

    def add(self, array: np.ndarray) -> int:
        """Hold an array, and return its number."""
        layout = None if array.flags.c_contiguous else (array.shape, array.strides)
        number = self._numbers.setdefault((address(array), array.nbytes, layout), len(self._arrays))
        if number == len(self._arrays):
            self._arrays.append(array)
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
        plain: list[tuple[int, int, int]] = []
        for array, offset in zip(self._arrays, packed_offsets(self.sizes)[0], strict=True):
            target: np.ndarray = np.ndarray(array.shape, array.dtype, memory, offset)
            if array.flags.c_contiguous:
                plain.append((address(target), address(array), array.nbytes))
            else:
                np.copyto(target, array)
        copy_memory(plain)
