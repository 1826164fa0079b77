"""A Keras file that holds only what a full one needs to be evaluated."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import h5py

from ...policy.contents import Contents
from ..format import Shapes, Written
from ..zip_member import open_member
from . import archive, embedded_dataset
from .archive import ARRAYS, KEY, METADATA, OPTIMIZERS, WEIGHTS
from .check import tensors
from .suffix import KERAS

_OF_OPTIMIZERS = ("optimizer", "optimizer_weights")  # the groups of the compiled optimizer: .keras, and legacy .h5


def write_weights(path: Path, thinned: Path, facts: Mapping[str, Any], contents: Contents) -> Written:
    """Write the weights and the configuration of a model into a new file.

    Keras loads it with `load_model`, and warns that the optimizer has no state in it.

    Args:
        path: The full checkpoint.
        thinned: The new file.
        facts: What replaces this package's data.
        contents: What the new file holds.

    Raises:
        OSError: The disk is full, or broken.
        Exception: Whatever zipfile and h5py raise for a damaged file.
    """
    if path.suffix != KERAS:
        with h5py.File(path) as source, h5py.File(thinned, "w") as made:
            shapes = _copy(source, made, {*_OF_OPTIMIZERS, embedded_dataset.DATASET})
        embedded_dataset.write(thinned, json.dumps(facts))
        return Written(shapes)
    dropped = {*_OF_OPTIMIZERS, ARRAYS, *(archive.read(path) or {}).get(OPTIMIZERS, ())}
    with tempfile.TemporaryDirectory(dir=thinned.parent) as folder:
        weights = Path(folder, WEIGHTS)
        with open_member(path, WEIGHTS) as member, h5py.File(member) as source, h5py.File(weights, "w") as made:
            shapes = _copy(source, made, dropped)
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(thinned, "w") as new:
            for entry in whole.infolist():
                if entry.filename == WEIGHTS:
                    new.write(weights, WEIGHTS)
                else:
                    data = whole.read(entry)
                    new.writestr(entry, _with_facts(data, facts) if entry.filename == METADATA else data)
    return Written(shapes)


def _with_facts(metadata: bytes, facts: Mapping[str, Any]) -> str:
    found = json.loads(metadata)
    return json.dumps({name: value for name, value in found.items() if not name.startswith(KEY)} | {KEY: facts})


def _copy(source: h5py.Group, made: h5py.Group, dropped: Collection[str], path: str = "") -> Shapes:
    """Copy a group with all that is below it, except some groups, and return the shapes of the tensors."""
    for name, value in source.attrs.items():
        made.attrs[name] = value
    for name, item in source.items():
        place = f"{path}{name}"
        if place in dropped:
            continue
        if isinstance(item, h5py.Group):
            _copy(item, made.create_group(name), dropped, f"{place}/")
        else:
            source.copy(name, made)
    return [] if path else [("", tuple(item.shape)) for _, item in tensors(made)]
