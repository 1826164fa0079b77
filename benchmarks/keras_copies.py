"""The shortest ways to copy all variables of a Keras model and its optimizer, with which saves are compared."""

from __future__ import annotations

import mmap
from collections.abc import Callable

import keras
import numpy as np

from .limits import warm_memory


def warm_arrays(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return an array of the same shape and type for each array, all in one block of warm memory."""
    memory, start, warm = warm_memory(sum(a.nbytes + mmap.PAGESIZE for a in arrays)), 0, []
    for array in arrays:
        warm.append(np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape))
        start += -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    return warm


def _values(model: keras.Model) -> list:
    """Return what holds the value of each variable: the backend's own variable, or on JAX an array."""
    if keras.backend.backend() == "jax":
        # During a fit, the values are in Keras' training state; the variables have those of an earlier step.
        kinds = ("trainable_variables", "non_trainable_variables", "optimizer_variables")
        return [value for kind in kinds for value in model._jax_state[kind]]
    return [variable.value for variable in [*model.variables, *model.optimizer.variables]]


def _viewed(value) -> np.ndarray:
    """Return a value as an array, without a copy."""
    if keras.backend.backend() == "torch":
        return value.detach().numpy()
    return np.asarray(value.read_value() if keras.backend.backend() == "tensorflow" else value)


def first_copy(model: keras.Model) -> list[np.ndarray]:
    """Copy all variables into fresh memory."""
    return [_viewed(value).copy() for value in _values(model)]


def warm_copy(model: keras.Model, copies: list[np.ndarray]) -> Callable[[], None]:
    """Return a function that copies all variables into warm memory, with one call of TensorFlow or torch.

    Args:
        model: The model.
        copies: What `first_copy` returned.
    """
    buffers = warm_arrays(copies)
    if keras.backend.backend() == "torch":
        import torch

        tensors = [torch.from_numpy(buffer) for buffer in buffers]
        return torch.no_grad()(lambda: torch._foreach_copy_(tensors, _values(model)))

    def read() -> list:
        return _values(model)

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        variables = _values(model)
        read = tensorflow.function(lambda: [variable.read_value() for variable in variables])
        read()  # compiles it

    def copy() -> None:
        for buffer, value in zip(buffers, read(), strict=True):
            np.copyto(buffer, np.asarray(value))

    return copy
