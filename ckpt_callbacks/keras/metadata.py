"""The metadata of a Keras training run, stored in every record."""

from __future__ import annotations

import re
from typing import Any

import keras

from .global_generators import script_seed


def training_metadata(model: keras.Model) -> dict[str, Any]:
    """Return the model, framework, backend, seed, optimizer and learning rate."""
    metadata: dict[str, Any] = {
        "model": _name(model),
        "framework": "keras",
        "backend": keras.backend.backend(),
        "seed": script_seed(),
    }
    if model.optimizer is not None:
        metadata["optimizer"] = type(model.optimizer).__name__
        metadata["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    return {name: value for name, value in metadata.items() if value is not None}


def _name(model: keras.Model) -> str:
    # Keras numbers unnamed models within a process, so only the name of the class is the same in every process.
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(model).__name__).lower()
    return type(model).__name__ if re.fullmatch(rf"{snake}(_\d+)?", model.name) else model.name
