"""This package's own arrays in the HDF5 file of an archive, in a dataset that Keras ignores."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...memory.pages import PAGE, address_of, round_up
from .archive import ARRAYS
from .entries import Dataset, Group
from .equal_bytes import equal_bytes
from .hdf5_part import hdf5_part

DATASET = f"{ARRAYS}/vars/0"
_ALIGN = 64
_PROBE, _TRIES = 64, 4

# The name of the dataset that holds an array, and the position of the array in it in bytes.
Place = tuple[str, int]


def packed_offsets(sizes: Iterable[int]) -> tuple[list[int], int]:
    """Return the offsets of arrays that are packed one after the other, and the size of the memory that they need.

    Args:
        sizes: The size of each array in bytes.
    """
    offsets, end = [], 0
    for size in sizes:
        offsets.append(end)
        end = round_up(end + size, _ALIGN)
    return offsets, round_up(end, PAGE)


@dataclass(frozen=True)
class OwnArrays:
    """Arrays of this package that are added to a file.

    Attributes:
        memory: The arrays, packed; see `packed_offsets`. It belongs to this object, and `place` packs it again.
        sizes: The size of each array in bytes.
    """

    memory: memoryview
    sizes: Sequence[int]

    def place(self, stored: Mapping[str, memoryview]) -> tuple[list[Place], int]:
        """Pack the arrays that the file needs. Leave out arrays whose bytes the file already holds, and duplicates.

        Call it only once, on the thread that writes. The best weights of an `EarlyStopping`, for example, are often the
        current ones, and comparing them costs less than writing them.

        Args:
            stored: The data of the other datasets of the file, by name.

        Returns:
            The place of each array, and the number of bytes at the start of the memory to store as `DATASET`.
        """
        sizes, known = set(self.sizes), _Known()
        for name, data in stored.items():
            if len(data) in sizes:
                known.add((name, 0), data)
        start = address_of(self.memory) if self.sizes else 0
        places: list[Place] = []
        end = 0
        for offset, size in zip(packed_offsets(self.sizes)[0], self.sizes, strict=True):
            place = known.find(self.memory[offset : offset + size])
            if place is None:
                if offset != end:
                    ctypes.memmove(start + end, start + offset, size)
                known.add(place := (DATASET, end), self.memory[end : end + size])
                padded = round_up(end + size, _ALIGN)
                self.memory[end + size : padded] = bytes(padded - end - size)
                end = padded
            places.append(place)
        stop = round_up(end, PAGE)
        self.memory[end:stop] = bytes(stop - end)
        return places, stop


def group_of(size: int) -> Group:
    """Return the group that contains the dataset of the arrays.

    Args:
        size: The size of the dataset in bytes.
    """
    return Group(ARRAYS, (), (Dataset("0", np.dtype(np.uint8), (size,)),))


def read(path: Path, places: Sequence[Sequence[Any]]) -> list[np.ndarray]:
    """Return the bytes of each array in an archive, possibly followed by other bytes.

    Args:
        path: The archive.
        places: The places of the arrays.
    """
    if not places:
        return []
    with hdf5_part(path) as file:
        held = {name: np.frombuffer(file[name][()].tobytes(), np.uint8) for name in {name for name, _ in places}}
    return [held[name][offset:] for name, offset in places]


class _Known:
    """Data whose places are known, found by a few of their bytes."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, bytes, bytes], list[tuple[Place, memoryview]]] = {}

    def add(self, place: Place, data: memoryview) -> None:
        alike = self._places.setdefault(_key(data), [])
        if len(alike) < _TRIES:  # many arrays that differ only in the middle would cost more than they save
            alike.append((place, data))

    def find(self, data: memoryview) -> Place | None:
        return next((place for place, each in self._places.get(_key(data), ()) if equal_bytes(each, data)), None)


def _key(data: memoryview) -> tuple[int, bytes, bytes]:
    return len(data), bytes(data[:_PROBE]), bytes(data[-_PROBE:])
