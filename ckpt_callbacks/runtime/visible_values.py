"""Values of plain attributes, as far as a change of them is visible: numbers, texts, arrays, tensors, containers."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any

_CONTAINERS = (list, tuple, dict, set, deque)
_MOST = 32  # items of a container that are compared
_LARGE = 1 << 16  # bytes of an array that are compared


def visible(value: Any, saved: Collection[int] = (), depth: int = 2) -> Any:
    """Return what is compared of a value; None for values of other kinds.

    Args:
        value: The value of an attribute.
        saved: The identities of tensors that checkpoints hold, which are not compared.
        depth: The depth to which containers are looked into.
    """
    if isinstance(value, bool | int | float | str):
        return value if value == value else "nan"
    if isinstance(value, _CONTAINERS):
        items = value.values() if isinstance(value, dict) else () if isinstance(value, set) else value
        if not depth or len(value) > _MOST:
            items = ()
        return len(value), *(visible(item, saved, depth - 1) for item in items)
    if id(value) in saved or not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return None
    if hasattr(value, "graph") or hasattr(value, "_trace"):
        return None  # a symbol, which TensorFlow or JAX replaces when it traces a function again
    if hasattr(value, "tobytes") and value.nbytes < _LARGE:
        return value.tobytes()
    return id(value), getattr(value, "_version", 0)  # torch counts the changes of a tensor
