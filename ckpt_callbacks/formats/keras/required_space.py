"""A check for free disk space before a Keras file is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...store.disk_space import require

PER_VARIABLE = 8192  # bytes; more than HDF5 needs for itself


def check_space(sizes: Iterable[int], folder: Path) -> None:
    """Check that the disk has space for variables.

    A full disk can end in a segmentation fault inside HDF5, which nothing could catch.

    Args:
        sizes: The size of each variable in bytes.
        folder: The folder that the file will be written to.

    Raises:
        OSError: The disk has too little space.
    """
    require(folder, sum(size + PER_VARIABLE for size in sizes))
