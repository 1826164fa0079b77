"""Comparison of the weights in two Keras files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np

from . import archive
from .check import tensors
from .hdf5_part import OPTIMIZER_GROUPS, hdf5_part
from .suffix import KERAS


def same_weights(a: Path, b: Path) -> bool:
    """Return True if two files hold equal weights, even if other contents differ."""
    if a.suffix != b.suffix:
        return False
    if a.suffix == KERAS:
        with zipfile.ZipFile(a) as first, zipfile.ZipFile(b) as second:
            members = [opened.getinfo(archive.WEIGHTS) for opened in (first, second)]
            if members[0].CRC == members[1].CRC and members[0].file_size == members[1].file_size:
                return True
    with hdf5_part(a) as f, hdf5_part(b) as g:
        return _same_datasets(f, g)


def _same_datasets(f: h5py.Group, g: h5py.Group) -> bool:
    names = _datasets(f)
    return names == _datasets(g) and all(
        f[name].dtype == g[name].dtype and np.array_equal(f[name][()], g[name][()]) for name in names
    )


def _datasets(file: h5py.Group) -> list[str]:
    return [name for name, _ in tensors(file) if not name.startswith(tuple(f"{group}/" for group in OPTIMIZER_GROUPS))]
