"""Reads of many TensorFlow variables in one call, which takes a fifth of the time of a call for each."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


def read_together(values: Sequence[Any]) -> list[np.ndarray | None]:
    """Return the values of the variables among ``values``, in their places, without a copy.

    The arrays share the variables' memory. If a step changes a variable while its array lives, the variable gets other
    memory. None stands for anything that cannot be read in this way, such as a bfloat16 or, if TensorFlow has several
    devices, everything.
    """
    found: list[np.ndarray | None] = [None] * len(values)
    places = [place for place, value in enumerate(values) if isinstance(value, keras.Variable)]
    try:
        if _has_one_device():
            for place, tensor in zip(places, _read([values[place].value for place in places]), strict=True):
                found[place] = viewed(tensor)
    except Exception:  # TensorFlow does not promise this operation; reading one by one tells what is wrong
        return [None] * len(values)
    return found


def viewed(tensor: Any) -> np.ndarray | None:
    """Return the memory of a tensor as an array; None if that is not possible."""
    try:
        return np.asarray(memoryview(tensor))
    except (BufferError, TypeError, ValueError):  # such as a bfloat16
        return None


def _read(held: Sequence[Any]) -> Sequence[Any]:
    """Return a tensor for each variable of TensorFlow. An optimizer of graphs fuses their reads in the same way."""
    from tensorflow.python.eager.context import context
    from tensorflow.python.eager.execute import execute

    kinds = tuple(one.dtype.as_datatype_enum for one in held)
    attributes = ("N", len(held), "dtypes", kinds)
    tensors: Sequence[Any] = execute(
        b"_ReadVariablesOp", len(held), [one.handle for one in held], attributes, context()
    )
    return tensors


@functools.cache
def _has_one_device() -> bool:
    import tensorflow as tf

    return len(tf.config.list_logical_devices()) == 1
