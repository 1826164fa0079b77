"""Comparison of the weights in two Keras files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np

from ..zip_member import open_member
from . import archive
from .check import tensors
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
        with (
            open_member(a, archive.WEIGHTS) as x,
            open_member(b, archive.WEIGHTS) as y,
            h5py.File(x) as f,
            h5py.File(y) as g,
        ):
            return _same_datasets(f, g)
    with h5py.File(a) as f, h5py.File(b) as g:
        return _same_datasets(f, g)


def _same_datasets(f: h5py.Group, g: h5py.Group) -> bool:
    names = _datasets(f)
    return names == _datasets(g) and all(
        f[name].dtype == g[name].dtype and np.array_equal(f[name][()], g[name][()]) for name in names
    )


def _datasets(file: h5py.Group) -> list[str]:
    return [name for name, _ in tensors(file) if not name.startswith(("optimizer/", "optimizer_weights/"))]
