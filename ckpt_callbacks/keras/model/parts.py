"""The parts of a model that are saved and loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from ...formats import Shapes


def shapes(model: keras.Model) -> Shapes:
    """Return the tensors that must be found in a file of the model."""
    return [(weight.path, tuple(weight.shape)) for weight in model.weights]


@contextmanager
def storing(
    optimizers: Iterable[keras.optimizers.Optimizer], store: Callable[[keras.optimizers.Optimizer, Any], None]
) -> Iterator[None]:
    """Make optimizers call ``store`` when Keras saves their variables.

    Args:
        optimizers: The optimizers.
        store: Called with each optimizer and the group of the file that it is saved to.
    """
    changed = list(optimizers)
    for optimizer in changed:
        vars(optimizer)["save_own_variables"] = partial(store, optimizer)
    try:
        yield
    finally:
        for optimizer in changed:
            vars(optimizer).pop("save_own_variables", None)


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
