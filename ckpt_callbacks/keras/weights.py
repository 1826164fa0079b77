"""Identities of a model's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any

import keras
import numpy as np

from ..formats.finite import all_finite
from .model.current_values import update_variables

_WHOLE, _SAMPLED = 1 << 20, 1 << 16  # elements; reading all of a large variable would take as long as copying it


class MeasuredWeights:
    """The weights of a model at an event, kept so that a later event can tell whether they have changed.

    Args:
        event: The identity of the weights at the event; see `Event.weights`.
        model: The model.
    """

    def __init__(self, event: Hashable, model: keras.Model) -> None:
        self._event, self._state = event, _state(model)

    def identity(self, model: keras.Model) -> Hashable | None:
        """Return the identity if the model still has these weights, as far as its backend can tell; None if not."""
        return self._event if self._state == _state(model) else None


def weights_are_finite(model: keras.Model) -> bool:
    """Return False if a trainable weight holds NaN or an infinity."""
    arrays = (np.ravel(keras.ops.convert_to_numpy(weight)) for weight in model.trainable_variables)
    return all_finite((array.view(np.uint8).data, array.dtype.name) for array in arrays)


def content(model: keras.Model, only: Sequence[Any] | None = None) -> str:
    """Return an identity of the values of a model's weights, no matter how they were set.

    Args:
        model: The model.
        only: Those of its weights that count, if not all.
    """
    update_variables(model)
    hasher = hashlib.sha256()
    for variable in model.weights if only is None else only:
        hasher.update(_sample(variable.value))
    return hasher.hexdigest()


def _state(model: keras.Model) -> object:
    # JAX arrays cannot change, torch counts changes, and TensorFlow offers only the values.
    values = [variable.value for variable in model.weights]
    if keras.backend.backend() == "jax":
        return _Arrays(values)
    hasher = hashlib.sha256()
    for value in values:
        if keras.backend.backend() == "torch":
            hasher.update(f"{value.data_ptr()} {value._version}".encode())
        hasher.update(_sample(value))
    return hasher.hexdigest()


def _sample(value: Any) -> bytes:
    """Return the bytes of a value, or of evenly spaced elements of a large one."""
    size = int(np.prod(value.shape))
    if size > _WHOLE:
        value = keras.ops.reshape(value, (-1,))[:: size // _SAMPLED]
    return np.ascontiguousarray(keras.ops.convert_to_numpy(value)).tobytes()


class _Arrays:
    """Immutable arrays, which are compared by identity, not by value, and are kept alive.

    Args:
        arrays: The arrays.
    """

    def __init__(self, arrays: list[Any]) -> None:
        self._arrays = arrays

    def __eq__(self, other: object) -> bool:
        mine, others = self._arrays, getattr(other, "_arrays", [])
        return len(mine) == len(others) and all(a is b for a, b in zip(mine, others, strict=True))
