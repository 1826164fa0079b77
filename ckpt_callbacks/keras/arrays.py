"""JSON values for values that may hold arrays."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

_ARRAY = "ckpt_callbacks.array"


def to_json(value: Any) -> Any:
    """Convert a value to JSON values, from which `from_json` restores it.

    Args:
        value: The value. Its tuples become lists, and its tensors numpy arrays.

    Raises:
        TypeError: The value contains something that is neither a JSON value nor an array.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a mapping has keys that are not strings")
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic) or keras.ops.is_tensor(value) or isinstance(value, keras.Variable):
        return {_ARRAY: array_to_json(np.asarray(keras.ops.convert_to_numpy(value)))}
    raise TypeError(f"{type(value).__name__} is neither a JSON value nor an array")


def from_json(value: Any) -> Any:
    """Return the value that was passed to `to_json`."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if isinstance(value, dict):
        if _ARRAY in value:
            return array_from_json(value[_ARRAY])[()]
        return {key: from_json(item) for key, item in value.items()}
    return value


def array_to_json(array: np.ndarray) -> dict[str, Any]:
    """Return one array as JSON values."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data}


def array_from_json(facts: Mapping[str, Any]) -> np.ndarray:
    """Return the array that was passed to `array_to_json`."""
    return np.frombuffer(base64.b64decode(facts["data"]), dtype=facts["dtype"]).reshape(facts["shape"]).copy()
