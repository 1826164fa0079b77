"""The facts of a file that Keras' own callbacks wrote."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from ..original import Original
from . import archive
from .hdf5_part import LEGACY_WEIGHTS, OPTIMIZER_GROUPS, hdf5_part
from .suffix import KERAS, WEIGHTS

# The files of BackupAndRestore; the second one says in which epoch the first one was written.
_BACKUP, _PROGRESS = "latest.weights.h5", "training_metadata.json"
_COUNTERS = ("optimizer/inner_optimizer/vars/0", "optimizer/vars/0")  # the number of updates, where there is one


def original(path: Path) -> Original | None:
    """Return what a file of Keras says about the training; None for any other file.

    Raises:
        Exception: Whatever zipfile and h5py raise for a damaged file.
    """
    if path.suffix == KERAS:
        with zipfile.ZipFile(path) as whole:
            if "keras_version" not in json.loads(whole.read(archive.METADATA)):
                return None
    with hdf5_part(path) as file:
        if path.suffix != KERAS and not _is_of_keras(path, file):
            return None
        step, has_optimizer = _updates(file), any(group in file for group in OPTIMIZER_GROUPS)
    contents = "full" if has_optimizer else "weights"
    found = {"step": step, "epoch": _epochs(path)}
    unknown = tuple(name for name, value in found.items() if value is None)
    return Original("keras", found["step"] or 0, found["epoch"] or 0, unknown, contents)


def _is_of_keras(path: Path, file: Any) -> bool:
    """Return whether an HDF5 file, which may hold anything, is one of Keras."""
    if LEGACY_WEIGHTS in file or "layer_names" in file.attrs:
        return True
    found: list[str] = []
    file.visit(lambda name: found.append(name) if name.rpartition("/")[2] == "vars" else None)
    return path.name.endswith(WEIGHTS) and bool(found)


def _updates(file: Any) -> int | None:
    for name in _COUNTERS:
        if name in file:
            return _whole(file[name][()]) if file[name].shape == () else None
    if (group := file.get(OPTIMIZER_GROUPS[1])) is not None and len(names := group.attrs.get("weight_names", ())):
        counter = group[names[0].decode() if isinstance(names[0], bytes) else names[0]]
        return _whole(counter[()]) if counter.shape == () else None
    return None


def _epochs(path: Path) -> int | None:
    """Return in which epoch BackupAndRestore has written a file; Keras' other files do not say so."""
    if path.name != _BACKUP:
        return None
    try:
        return _whole(json.loads(path.with_name(_PROGRESS).read_text())["epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _whole(value: Any) -> int:
    return max(int(value), 0)
