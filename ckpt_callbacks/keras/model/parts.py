"""The parts of a model that are saved and loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from ...formats import Shapes


def optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """Return the model's optimizers, which are not part of its weights."""
    return [value for value in vars(model).values() if isinstance(value, keras.optimizers.Optimizer)]


def shapes(model: keras.Model) -> Shapes:
    """Return the tensors that must be found in a file of the model."""
    return [(weight.path, tuple(weight.shape)) for weight in model.weights]


@contextmanager
def as_built(model: keras.Model) -> Iterator[None]:
    """Mark a model as built if it has weights but is never called as a whole, such as a GAN.

    Keras neither saves nor loads anything of a model that is not built.
    """
    if model.built or not model.weights:
        yield
        return
    model.built = True
    try:
        yield
    finally:
        model.built = False
