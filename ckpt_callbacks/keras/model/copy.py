"""Copies of a model's variables in the caller's memory."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import keras
import numpy as np

from ...memory.parallel_copy import Copy, copy_memory
from .tensorflow_reads import read_together, viewed

_SMALL = 32 << 10  # bytes, which are copied faster than they are handed to several threads


class Target:
    """An array to copy a variable into.

    Args:
        memory: Writable memory of its size.
        dtype: Its dtype.
        shape: Its shape.
    """

    __slots__ = ("address", "array", "dtype", "nbytes", "shape")

    def __init__(self, memory: memoryview, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.array: np.ndarray = np.ndarray(shape, dtype, memory)
        self.address, self.nbytes, self.dtype, self.shape = address(self.array), len(memory), dtype, shape


def copy(values: Sequence[Any], into: Sequence[Target]) -> None:
    """Copy variables into arrays.

    Args:
        values: Variables or arrays.
        into: For each of them, the array to copy it into, of the same dtype and shape.

    Raises:
        ValueError: A variable's value differs from the variable in dtype or shape.
    """
    found = _FROM.get(keras.backend.backend(), keras.ops.convert_to_numpy)
    read: Iterable[np.ndarray | None] = read_together(values) if found is _from_tensorflow else repeat(None)
    plain: list[Copy] = []  # copied byte by byte, all of them together
    alive: list[np.ndarray] = []  # keeps the sources of the copies in memory
    for value, target, array in zip(values, into, read, strict=False):
        if not isinstance(value, keras.Variable):
            target.array[...] = value
        elif not (found is _from_torch and _copied_by_torch(value, target, plain)):
            held = found(value) if array is None else array
            if held.shape != target.shape or held.dtype != target.dtype:
                raise ValueError(
                    f"{value.path}: holds {held.dtype}{held.shape}; expected {target.dtype}{target.shape}, as declared"
                )
            if target.nbytes > _SMALL and held.flags.c_contiguous:
                alive.append(held)
                plain.append((target.address, address(held), target.nbytes))
            else:
                np.copyto(target.array, held)
    copy_memory(plain)


def address(array: np.ndarray) -> int:
    """Return the address of an array's first number."""
    found: int = array.__array_interface__["data"][0]
    return found


def _from_tensorflow(variable: Any) -> np.ndarray:
    import tensorflow as tf

    try:
        held = variable.value
        # The variable's own method takes four times as long.
        array = viewed(tf.raw_ops.ReadVariableOp(resource=held.handle, dtype=held.dtype))
    except (AttributeError, TypeError, ValueError):  # such as a mirrored variable
        array = None
    return keras.ops.convert_to_numpy(variable) if array is None else array


def _from_jax(variable: Any) -> np.ndarray:
    return np.asarray(variable.value)  # no copy on a CPU


def _from_torch(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable.value)


def _copied_by_torch(variable: Any, target: Target, plain: list[Copy]) -> bool:
    """Copy a dense tensor of the same type from any device, or add it to ``plain``; return False for anything else."""
    import torch

    value = variable._value  # for `value`, Keras asks for its device, which takes longer than copying a small tensor
    if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.layout is not torch.strided:
        return False
    if value.shape != target.shape or not _are_alike(value.dtype, target.dtype) or not target.nbytes:
        return False
    if value.is_cpu and value.is_contiguous():
        # Not by torch: its threads wait for each other at each tensor, which takes seconds if a core is busy.
        if target.nbytes > _SMALL:
            plain.append((target.address, value.data_ptr(), target.nbytes))
        else:
            ctypes.memmove(target.address, value.data_ptr(), target.nbytes)
    else:
        value, flat = value.detach(), target.array.reshape(-1).view(np.uint8)
        torch.from_numpy(flat).view(value.dtype).reshape(value.shape).copy_(value)
    return True


@functools.cache
def _are_alike(of_torch: Any, of_numpy: np.dtype) -> bool:
    return str(of_torch) == f"torch.{of_numpy.name}"


_FROM = {"tensorflow": _from_tensorflow, "jax": _from_jax, "torch": _from_torch}
