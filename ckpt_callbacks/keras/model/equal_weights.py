"""The comparison of a model's weights with those in a checkpoint."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import h5py
import keras
import numpy as np

from ...formats.keras import archive as keras_zip
from ...formats.keras.suffix import KERAS, WEIGHTS
from ...formats.zip_member import open_member
from ..native_file import native_file
from .objects import optimizers
from .walk import walk


def has_weights_of(model: keras.Model, path: Path) -> bool:
    """Return whether a model has exactly the weights that a checkpoint holds. Reading ends at the first difference.

    Args:
        model: The model.
        path: The checkpoint. Files of the legacy format are not compared.
    """
    with native_file(path) as native:
        return _has_weights_of(model, native)


def _has_weights_of(model: keras.Model, path: Path) -> bool:
    weights = {id(weight) for weight in model.weights}
    if not path.name.endswith((KERAS, WEIGHTS)):
        return False
    found = walk(model, skip=list(optimizers(model).values()))
    places = [group.place(entry) for group in found.groups for entry in group.entries]
    mine = [(place, value) for place, value in zip(places, found.values, strict=True) if id(value) in weights]
    mine.sort(key=lambda one: int(np.prod(one[1].shape)))  # the smallest differ as surely as the largest
    with ExitStack() as stack:
        file = stack.enter_context(open_member(path, keras_zip.WEIGHTS)) if path.suffix == KERAS else path
        stored = stack.enter_context(h5py.File(file))
        return bool(mine) and all(_equal(value, stored.get(place)) for place, value in mine)


def _equal(variable: keras.Variable, stored: h5py.Dataset | None) -> bool:
    if stored is None or tuple(variable.shape) != stored.shape:
        return False
    return np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes() == stored[()].tobytes()
