"""The comparison of a model's weights with those in a checkpoint."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np

from ...formats.keras.hdf5_part import hdf5_part
from ...formats.keras.suffix import KERAS, WEIGHTS
from ...formats.packed.suffix import native_name
from .objects import optimizers
from .walk import walk


def has_weights_of(model: keras.Model, path: Path) -> bool:
    """Return whether a model has exactly the weights that a checkpoint holds. Reading ends at the first difference.

    Args:
        model: The model.
        path: The checkpoint. Files of the legacy format are not compared.
    """
    if not native_name(path.name).endswith((KERAS, WEIGHTS)):
        return False
    weights = {id(weight) for weight in model.weights}
    found = walk(model, skip=list(optimizers(model).values()))
    places = [group.place(entry) for group in found.groups for entry in group.entries]
    mine = [(place, value) for place, value in zip(places, found.values, strict=True) if id(value) in weights]
    mine.sort(key=lambda one: int(np.prod(one[1].shape)))  # the smallest differ as surely as the largest
    with hdf5_part(path) as stored:
        return bool(mine) and all(_equal(value, stored.get(place)) for place, value in mine)


def _equal(variable: keras.Variable, stored: h5py.Dataset | None) -> bool:
    if stored is None or tuple(variable.shape) != stored.shape:
        return False
    return np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes() == stored[()].tobytes()
