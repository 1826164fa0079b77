"""The model and the sample inputs that a caller gives, by name or as they are."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExportError, first_line
from .checkpoint import Checkpoint
from .reference import find, imported


def given_model(model: Any, checkpoint: Checkpoint) -> Any:
    """Return the model, class or function that was given; None if there is none.

    Args:
        model: What was given; text is the name of one.
        checkpoint: The checkpoint, which may know the name of its class.
    """
    if not isinstance(model, str):
        return model
    if checkpoint.framework == "keras" and ":" not in model:
        imported(model)  # which registers its layers with Keras
        return None
    return find(model, checkpoint.model_name)


def given_inputs(inputs: Any) -> Any:
    """Return the arrays of a file by name, or what else was given; None if there is nothing.

    Raises:
        ExportError: The file holds no arrays.
    """
    if not isinstance(inputs, str | os.PathLike):
        return inputs
    path = Path(inputs)
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("is no .npz file" if path.exists() else "does not exist")
        with np.load(path) as file:
            return Arrays(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ExportError(
            f"{path}: {first_line(error)}; expected sample inputs: a file of numpy.savez, with an array for each input"
        ) from error


class Arrays(dict[str, np.ndarray]):
    """The arrays of a file, by name."""
