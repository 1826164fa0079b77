"""The places of arrays in a Keras file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py

from ..zip_member import data_start
from .archive import WEIGHTS
from .hdf5_part import hdf5_part
from .suffix import KERAS

_LARGE = 64 << 10  # bytes; smaller arrays are not worth a call of the system


def places(path: Path) -> dict[tuple[str, int], int]:
    """Return where each large array begins, by its name and its size in bytes.

    Raises:
        Exception: Whatever zipfile and h5py raise for a damaged file.
    """
    start = 0
    if path.suffix == KERAS:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(WEIGHTS)
        if info.compress_type != zipfile.ZIP_STORED:
            return {}
        start = data_start(path, info)
    with hdf5_part(path) as file:
        return _places(file, start)


def _places(file: h5py.File, start: int) -> dict[tuple[str, int], int]:
    found: dict[tuple[str, int], int] = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.nbytes >= _LARGE and (place := item.id.get_offset()) is not None:
            found[name, item.nbytes] = start + place

    file.visititems(visit)
    return found
