"""A Keras file that is made smaller, and that Keras reads as it reads the full one."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import h5py

from ...policy.contents import WHOLE_NUMBERS, Contents
from ..format import Shapes, Written
from ..reduction import Reduction
from ..zip_member import open_member
from . import archive, embedded_dataset
from .archive import ARRAYS, KEY, METADATA, OPTIMIZERS, WEIGHTS
from .check import tensors
from .quantized import quantize
from .reduced_group import copy_group
from .suffix import KERAS

_OF_OPTIMIZERS = ("optimizer", "optimizer_weights")  # the groups of the compiled optimizer: .keras, and legacy .h5


def reduce(path: Path, thinned: Path, record: Mapping[str, Any], contents: Contents) -> Written:
    """Write what the contents say into a new file.

    Keras loads it with `load_model`. If it holds only weights, Keras warns that the optimizer has no state in it.

    Args:
        path: The checkpoint.
        thinned: The new file.
        record: The record that the new file holds.
        contents: What the new file holds.

    Raises:
        OSError: The disk is full, or broken.
        StoreError: Nothing would be left, or Keras cannot quantise the model.
        Exception: Whatever zipfile and h5py raise for a damaged file.
    """
    reduction = Reduction(contents, record["reduced"])
    dtype = contents.dtype
    if dtype not in WHOLE_NUMBERS or record["reduced"].get("dtype") == dtype:
        return _reduce(path, thinned, record, reduction)
    with tempfile.TemporaryDirectory(dir=thinned.parent) as folder:
        quantized = Path(folder, thinned.name)
        for name, error in quantize(path, quantized, dtype).items():
            reduction.note(name, error)
        return _reduce(quantized, thinned, record, reduction)


def _reduce(path: Path, thinned: Path, record: Mapping[str, Any], reduction: Reduction) -> Written:
    if path.suffix != KERAS:
        shapes = _reduce_hdf5(path, thinned, reduction, _OF_OPTIMIZERS)
        facts = reduction.facts()
        embedded_dataset.write(thinned, json.dumps({"record": {**record, "reduced": facts}}))
        return Written(shapes, reduced=facts)
    own = archive.read(path) or {}
    optimizers = {*_OF_OPTIMIZERS, *own.get(OPTIMIZERS, ())}
    with tempfile.TemporaryDirectory(dir=thinned.parent) as folder:
        weights = Path(folder, WEIGHTS)
        with open_member(path, WEIGHTS) as member:
            shapes = _reduce_hdf5(member, weights, reduction, optimizers)
        facts = reduction.facts()
        embedded = {"record": {**record, "reduced": facts}, OPTIMIZERS: sorted(optimizers)}
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(thinned, "w") as new:
            for entry in whole.infolist():
                if entry.filename == WEIGHTS:
                    new.write(weights, WEIGHTS)
                else:
                    data = whole.read(entry)
                    new.writestr(entry, _with_facts(data, embedded) if entry.filename == METADATA else data)
    return Written(shapes, reduced=facts)


def _with_facts(metadata: bytes, facts: Mapping[str, Any]) -> str:
    found = json.loads(metadata)
    return json.dumps({name: value for name, value in found.items() if not name.startswith(KEY)} | {KEY: facts})


def _reduce_hdf5(source: Any, target: Path, reduction: Reduction, optimizers: Collection[str]) -> Shapes:
    """Write an HDF5 file without what is left out, and return the shapes of its tensors.

    Without the state to resume from, this package's own arrays are of no use.
    """
    left_out = {ARRAYS, embedded_dataset.DATASET, *(optimizers if reduction.contents.kind != "full" else ())}
    with h5py.File(source) as found, h5py.File(target, "w") as made:
        copy_group(found, made, reduction, left_out=left_out, exact=optimizers)
        return [("", tuple(item.shape)) for _, item in tensors(made)]
