"""The groups and datasets of a Keras file, described without their data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Dataset:
    """One dataset.

    Attributes:
        key: Its name in the group.
        dtype: Its type.
        shape: Its shape.
    """

    key: str
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The size of its data in bytes."""
        return int(self.dtype.itemsize * int(np.prod(self.shape)))


@dataclass(frozen=True)
class Group:
    """The datasets of one layer, or of another part of the model.

    Attributes:
        path: Its path in the file, as passed to `H5IOStore.make`.
        metadata: Its attributes, as passed to `H5IOStore.make`.
        entries: Its datasets, in the order in which Keras makes them.
    """

    path: str
    metadata: tuple[tuple[str, Any], ...]
    entries: tuple[Dataset, ...]

    def place(self, entry: Dataset) -> str:
        """Return the full name of one of the entries in the file."""
        return "/".join(filter(None, (self.path, "vars", entry.key)))
