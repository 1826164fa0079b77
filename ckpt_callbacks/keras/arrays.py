"""Values with arrays among them as JSON values, and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

_ARRAY = "ckpt_callbacks.array"


def pack(value: Any) -> Any:
    """``value`` as JSON values; `unpack` gives it back, with lists for tuples and numpy arrays for tensors.

    Raises:
        TypeError: it holds something that is neither a JSON value nor an array.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a mapping has keys that are no strings")
        return {key: pack(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [pack(item) for item in value]
    if isinstance(value, np.ndarray | np.generic) or keras.ops.is_tensor(value) or isinstance(value, keras.Variable):
        return {_ARRAY: packed(np.asarray(keras.ops.convert_to_numpy(value)))}
    raise TypeError(f"{type(value).__name__} is neither a JSON value nor an array")


def unpack(value: Any) -> Any:
    """What `pack` was given."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if isinstance(value, dict):
        return unpacked(value[_ARRAY])[()] if _ARRAY in value else {key: unpack(item) for key, item in value.items()}
    return value


def packed(array: np.ndarray) -> dict[str, Any]:
    """One array as JSON values."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data}


def unpacked(facts: Mapping[str, Any]) -> np.ndarray:
    """The array that `packed` was given."""
    return np.frombuffer(base64.b64decode(facts["data"]), dtype=facts["dtype"]).reshape(facts["shape"]).copy()
