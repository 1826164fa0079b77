"""The layout of a Keras HDF5 file, taken from HDF5 itself, so that the file can be written front to back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import keras
import numpy as np
from keras.src.saving import saving_lib

from ...memory.pages import PAGE
from .embedded_dataset import DATASET
from .entries import Dataset, Group
from .equal_bytes import equal_bytes
from .sparse_file import SparseFile


@dataclass(frozen=True)
class FileLayout:
    """The bytes of a file, front to back.

    Attributes:
        size: The size of the file in bytes.
        pieces: Bytes that HDF5 writes around the data, or the number of the entry whose data goes here.
    """

    size: int
    pieces: tuple[bytes | int, ...]

    def filled(self, data: Sequence[memoryview]) -> Iterator[bytes | memoryview]:
        """Return the pieces of the file, with the entries' data in place."""
        return (piece if isinstance(piece, bytes) else data[piece] for piece in self.pieces)


def lay_out(groups: Sequence[Group], facts: int = 0) -> FileLayout:
    """Return the layout of the file that Keras would write for these groups.

    HDF5 writes a file without data into memory, with each dataset's space allocated at once and none filled.

    Args:
        groups: The groups of the file.
        facts: The size in bytes of this package's data, which is the last entry; 0 for none.
    """
    file = SparseFile()
    store = _EmptyStore(file)
    feed(store, groups, [entry for group in groups for entry in group.entries])
    if facts:
        store.put(store.h5_file, DATASET, Dataset(DATASET, np.dtype(np.uint8), (facts,)))
    places = [(dataset.get_offset(), number) for number, dataset in enumerate(store.datasets)]
    sizes = [dataset.get_storage_size() for dataset in store.datasets]
    store.close()
    pieces: list[bytes | int] = []
    end = 0
    for offset, number in sorted(place for place in places if place[0] is not None):  # None: no bytes
        if offset < end:
            raise ValueError("HDF5 laid two datasets over each other")
        if offset > end:
            pieces.append(file.piece(end, offset))
        pieces.append(number)
        end = offset + sizes[number]
    pieces.append(file.piece(end, file.size))
    return FileLayout(file.size, tuple(pieces))


def feed(store: saving_lib.H5IOStore, groups: Sequence[Group], values: Sequence[Any]) -> None:
    """Put the values into a store, as Keras' walk does.

    Args:
        store: The store.
        groups: The groups to make in it.
        values: The value of each entry, in order.
    """
    left = iter(values)
    for group in groups:
        store.make(group.path, metadata=dict(group.metadata) or None)
        for entry in group.entries:
            store[entry.key] = next(left)


def unlike(written: h5py.File, groups: Sequence[Group], values: Sequence[np.ndarray]) -> str | None:
    """Return the first difference between a file and what Keras would have written, in words; None if there is none.

    Args:
        written: The open file.
        groups: The groups that it must hold.
        values: The value of each entry, in order.
    """
    reference = saving_lib.H5IOStore(SparseFile(), mode="w")
    # The shapes are compared with the values below; here, every value is reduced to a single number.
    feed(reference, groups, [np.zeros([min(n, 1) for n in value.shape], value.dtype) for value in values])
    try:
        expected, found = _described(reference.h5_file), _described(written)
        if expected != found:
            return f"{sorted(set(expected.items()) ^ set(found.items()))[:2]} differ"
    finally:
        reference.close()
    buffer: np.ndarray = np.empty(max((value.nbytes for value in values), default=0), np.uint8)
    places = [group.place(entry) for group in groups for entry in group.entries]
    for place, value in zip(places, values, strict=True):
        dataset, held = written[place], buffer[: value.nbytes]
        if dataset.shape != value.shape:
            return f"{place} has shape {dataset.shape} instead of {value.shape}"
        if value.size:
            dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, held.view(dataset.dtype).reshape(value.shape))
        if not equal_bytes(held, value):
            return f"{place} holds other values"
    return None


class _EmptyStore(saving_lib.H5IOStore):
    """A store that makes the same groups, attributes and datasets as Keras' store, without data, from entries."""

    def __init__(self, file: SparseFile) -> None:
        self.datasets: list[h5py.h5d.DatasetID] = []
        self._allocated = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        self._allocated.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        self._allocated.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        self._link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        self._link.set_create_intermediate_group(True)
        self._link.set_char_encoding(h5py.h5t.CSET_UTF8)
        super().__init__(file, mode="w")

    def _get_h5_file(self, path_or_io: SparseFile, mode: str | None = None) -> h5py.File:
        return h5py.File(path_or_io, mode or self.mode, alignment_threshold=PAGE, alignment_interval=PAGE)

    def __setitem__(self, key: str, entry: Dataset) -> None:
        if not self._h5_entry_initialized:
            self._create_h5_group(self._h5_entry_path)
        dataset = self.put(self._h5_entry_group, key, entry)
        if keras.backend.standardize_dtype(entry.dtype) == "bfloat16":
            dataset.attrs["dtype"] = "bfloat16"

    def put(self, group: h5py.Group, key: str, entry: Dataset) -> h5py.Dataset:
        # By the low-level call, because `create_dataset` does not allocate scalars at once.
        kind = h5py.h5t.py_create(entry.dtype, logical=True)
        space = h5py.h5s.create_simple(entry.shape) if entry.shape else h5py.h5s.create(h5py.h5s.SCALAR)
        dataset = h5py.h5d.create(group.id, key.encode(), kind, space, self._allocated, self._link)
        self.datasets.append(dataset)
        return h5py.Dataset(dataset)


def _described(file: h5py.File) -> dict[str, str]:
    """Return Keras' groups and datasets, with their attributes and types."""
    found = {"": repr(sorted(file.attrs.items()))}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        kind = item.dtype if isinstance(item, h5py.Dataset) else None
        found[name] = repr((type(item).__name__, kind, sorted((key, repr(value)) for key, value in item.attrs.items())))

    file.visititems(visit)
    found.pop(DATASET, None)
    return found
