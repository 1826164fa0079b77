"""The inside of a Keras file, for a comparison with another one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...errors import StoreError, VerifyError, first_line
from ...policy.contents import WHOLE_NUMBERS
from ..inside import PIECE, Inside, WeightOnDisk
from . import archive, embedded_dataset
from .check import tensors
from .hdf5_part import LEGACY_WEIGHTS, OPTIMIZER_GROUPS, hdf5_part
from .suffix import KERAS

_PASSING = "shared_object_id"
_DESCRIPTIONS = ("model_config", "training_config")  # attributes of a legacy file, in JSON


@contextmanager
def look(path: Path) -> Iterator[Inside]:
    """Open a file for comparison; its arrays stay on the disk until they are read.

    Raises:
        StoreError: The file holds no weights.
        Exception: Whatever zipfile and h5py raise for a damaged file.
    """
    with hdf5_part(path) as file:
        if path.suffix == KERAS:
            embedded = archive.read(path) or {}
            with zipfile.ZipFile(path) as whole:
                facts, config = (json.loads(whole.read(name)) for name in (archive.METADATA, "config.json"))
            settings = {"model": _named(config.get("config")), "compiled": _named(config.get("compile_config"))}
            dropped = (*OPTIMIZER_GROUPS, *embedded.get(archive.OPTIMIZERS, ()))
        else:
            embedded, facts, dropped = embedded_dataset.read(file) or {}, dict(file.attrs), OPTIMIZER_GROUPS
            settings = {name: _named(json.loads(file.attrs[name])) for name in _DESCRIPTIONS if name in file.attrs}
        layout = "a legacy .h5 file of Keras" if LEGACY_WEIGHTS in file else "a Keras file"
        dtype = embedded.get("record", {}).get("reduced", {}).get("dtype")
        if dtype in WHOLE_NUMBERS:  # the values are Keras' own; only Keras knows what they stand for
            layout = f"{layout} with {dtype} weights"
        groups = tuple(f"{group}/" for group in dropped)
        found = {name: data for name, data in tensors(file) if not name.startswith(groups)}
        if not found:
            raise StoreError(f"{path}: holds no weights; expected a file that Keras has saved")
        kept = {"keras_version": "keras", "backend": "backend"}
        yield Inside(
            layout,
            {name.removeprefix(f"{LEGACY_WEIGHTS}/"): _entry(path, data) for name, data in found.items()},
            settings,
            {shown: facts[name] for name, shown in kept.items() if name in facts},
            embedded.get("record"),
        )


def _named(value: Any) -> Any:
    """Return a description in which the layers stand under their names, without numbers that each process makes up."""
    if isinstance(value, dict):
        return {name: _named(item) for name, item in value.items() if name != _PASSING}
    if isinstance(value, list):
        names = [item["config"].get("name") for item in value if isinstance(item, dict) and "config" in item]
        if value and len(set(names)) == len(value) and None not in names:
            return {name: _named(item) for name, item in zip(names, value, strict=True)}
        return [_named(item) for item in value]
    return value


def _entry(path: Path, data: h5py.Dataset) -> WeightOnDisk:
    kind = "bfloat16" if _is_bfloat16(data) else str(data.dtype)
    layer = data.parent.attrs.get("name", "")
    return WeightOnDisk(
        tuple(data.shape), kind, partial(_pieces, path, data), layer if layer not in data.name.split("/") else ""
    )


def _pieces(path: Path, data: h5py.Dataset) -> Iterator[np.ndarray]:
    try:
        flat = np.asarray(data[()]).reshape(-1)
    except OSError as error:
        raise VerifyError(f"{path}: {data.name} cannot be read: {first_line(error)}") from error
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE]
        if _is_bfloat16(data):  # the upper half of a float32, which numpy does not know
            piece = (piece.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        yield piece.astype(np.complex128 if piece.dtype.kind == "c" else np.float64)


def _is_bfloat16(data: Any) -> bool:
    return bool(data.dtype.kind == "V" and data.dtype.itemsize == 2)
