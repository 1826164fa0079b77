"""A writer of models that calls Keras' own writers, and embeds this package's data in the file."""

from __future__ import annotations

import math
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras

from ...formats import Shapes
from ...formats.keras import archive as keras_zip
from ...formats.keras import embedded
from ...formats.keras.required_space import check_space
from ...formats.keras.suffix import WEIGHTS
from ...formats.keras.unsupported import explain_refusal
from ...formats.zip_dates import any_date
from ..embedded import FitState
from ..held_arrays import HeldArrays
from . import config_json as configuration
from .objects import optimizers
from .parts import as_built, shapes


@any_date()
def save(model: keras.Model, path: Path, carried: FitState, *, with_config: bool = True) -> Shapes:
    """Write a model to a file in the format that its suffix names, and return the tensors that it must contain.

    Args:
        model: The model.
        path: The file.
        carried: The data to embed in it.
        with_config: Whether Keras can write the model's configuration.

    Raises:
        OSError: The disk is full.
        StoreError: Keras cannot write this model.
    """
    require_space(model, path.parent)
    with explain_refusal(model.name), as_built(model):
        if path.name.endswith(WEIGHTS):
            keras.saving.save_weights(model, path, objects_to_skip=list(optimizers(model).values()))
        elif with_config:
            model.save(path)
        else:
            _archive_weights(model, path)
    embedded.write(path, embedded_for(path.name, carried))
    return shapes(model)


def require_space(model: keras.Model, folder: Path) -> None:
    """Check that the disk has space for a model and its optimizers; see `check_space`.

    Args:
        model: The model.
        folder: The folder that the file will be written to.

    Raises:
        OSError: The disk has too little space.
    """
    variables = [*model.weights, *(v for one in optimizers(model).values() for v in one.variables)]
    check_space([math.prod(v.shape) * _bits(v.dtype) // 8 for v in variables], folder)


def embedded_for(name: str, carried: FitState, held: HeldArrays | None = None) -> dict[str, Any]:
    """Return the data to embed in a file of this name. A file of weights gets no state to resume from.

    Args:
        name: The name.
        carried: The state.
        held: Receives the large arrays of the state; see `FitState.to_json`.
    """
    return {"record": carried.record, **carried.named} if name.endswith(WEIGHTS) else carried.to_json(held)


def _archive_weights(model: keras.Model, path: Path) -> None:
    """Write a ``.keras`` file without the model's configuration and without any files that layers save."""
    config, metadata = configuration.stand_in(model)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, zipfile.ZipFile(path, "w") as archive:
        weights = Path(folder, keras_zip.WEIGHTS)
        keras.saving.save_weights(model, weights)
        archive.writestr(keras_zip.METADATA, metadata)
        archive.writestr(configuration.MEMBER, config)
        archive.write(weights, keras_zip.WEIGHTS)


def _bits(dtype: str) -> int:
    digits = re.search(r"\d+", dtype)
    return int(digits.group()) if digits else 8
