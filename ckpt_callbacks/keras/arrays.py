"""JSON values for values that may hold arrays."""

from __future__ import annotations

import ast
import base64
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from .held_arrays import HeldArrays

_ARRAY = "ckpt_callbacks.array"
_SCALARS = (bool, int, float, str, np.generic)
_SMALL = 256  # bytes; smaller arrays are written as text, because their places would take as much time and space


def plain(value: Any, *, copy: bool) -> Any:
    """Return a value with new lists and dicts in place of its containers, and numpy arrays in place of its tensors.

    Args:
        value: The value.
        copy: Whether to copy arrays as well, so that no later change affects the result.

    Raises:
        TypeError: The value contains something that is neither a JSON value nor an array.
    """
    if value is None or isinstance(value, _SCALARS):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a mapping has keys that are not strings")
        return {key: plain(item, copy=copy) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, copy=copy) for item in value]
    if not isinstance(value, np.ndarray):
        if not (keras.ops.is_tensor(value) or isinstance(value, keras.Variable)):
            raise TypeError(f"{type(value).__name__} is neither a JSON value nor an array")
        value = np.asarray(keras.ops.convert_to_numpy(value))
    if value.dtype == object:
        return _of_objects([plain(item, copy=copy) for item in value.ravel()], value.shape)
    if value.dtype.kind != "T" and value.dtype.hasobject:
        raise TypeError(f"an array of {value.dtype} has fields that hold Python objects")
    return np.array(value) if copy else np.asarray(value)


def to_json(value: Any, held: HeldArrays | None = None) -> Any:
    """Convert a value to JSON values, from which `from_json` restores it.

    Args:
        value: The value. Its tuples become lists, and its tensors numpy arrays.
        held: Takes the large arrays, and the JSON values refer to them by number. If None, all arrays become text.

    Raises:
        TypeError: The value contains something that is neither a JSON value nor an array.
    """
    return _to_json(plain(value, copy=False), held)


def from_json(value: Any, arrays: Sequence[np.ndarray] = ()) -> Any:
    """Return the value that was passed to `to_json`.

    Args:
        value: The JSON values.
        arrays: The bytes of each array to which the JSON values refer by number.
    """
    if isinstance(value, list):
        return [from_json(item, arrays) for item in value]
    if isinstance(value, dict):
        if _ARRAY in value:
            return array_from_json(value[_ARRAY], arrays)[()]
        return {key: from_json(item, arrays) for key, item in value.items()}
    return value


def array_to_json(array: np.ndarray, held: HeldArrays | None = None) -> dict[str, Any]:
    """Return one array as JSON values; see `to_json`."""
    facts = {"dtype": _name(array.dtype), "shape": list(array.shape)}
    if array.dtype == object or array.dtype.kind == "T":
        return facts | {"items": [_to_json(item, held) for item in array.ravel().tolist()]}
    if held is not None and array.nbytes >= _SMALL:
        return facts | {"number": held.add(array)}
    return facts | {"data": base64.b64encode(array.tobytes()).decode("ascii")}


def array_from_json(facts: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Return the array that was passed to `array_to_json`; see `from_json`."""
    name, shape = facts["dtype"], tuple(facts["shape"])
    if "items" in facts:
        items = _of_objects([from_json(item, arrays) for item in facts["items"]], shape)
        return items if name == "object" else items.astype(np.dtypes.StringDType())
    dtype = np.dtype(ast.literal_eval(name) if name[0] in "[{" else name)  # types with fields are Python literals
    data = arrays[facts["number"]] if "number" in facts else base64.b64decode(facts["data"])
    return np.frombuffer(data, dtype, int(np.prod(shape))).reshape(shape).copy()


@functools.lru_cache(maxsize=64)
def _name(dtype: np.dtype) -> str:
    return str(dtype)  # takes longer than all else that is done for a small array


def _to_json(value: Any, held: HeldArrays | None) -> Any:
    if isinstance(value, dict):
        return {key: _to_json(item, held) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_json(item, held) for item in value]
    if isinstance(value, np.ndarray | np.generic) and not isinstance(value, float | str):
        return {_ARRAY: array_to_json(np.asarray(value), held)}
    return value


def _of_objects(items: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    made = np.empty(len(items), object)
    for number, item in enumerate(items):
        made[number] = item
    return made.reshape(shape)
