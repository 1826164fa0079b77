"""The parts of a model that are saved and loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import keras

from ...formats import Shapes
from .lora import factors
from .objects import structural

_Holder = TypeVar("_Holder", keras.optimizers.Optimizer, keras.layers.Layer)


@structural
def shapes(model: keras.Model) -> Shapes:
    """Return the tensors that must be found in a file of the model.

    These are all weights, except LoRA factors and those of layers whose class decides itself what it saves.
    """
    left_out = {id(factor) for factor in factors(model)}
    for layer in model._flatten_layers():
        if not type(layer).save_own_variables.__module__.startswith("keras."):
            parts = {id(weight) for part in layer._flatten_layers(include_self=False) for weight in part.weights}
            left_out |= {id(weight) for weight in layer.weights} - parts
    return [(weight.path, tuple(weight.shape)) for weight in model.weights if id(weight) not in left_out]


@contextmanager
def storing(holders: Iterable[_Holder], store: Callable[[_Holder, Any], None]) -> Iterator[None]:
    """Make optimizers or layers call ``store`` when Keras saves their variables.

    Args:
        holders: The optimizers or layers.
        store: Called with each of them and the group of the file that it is saved to.
    """
    changed = list(holders)
    for holder in changed:
        vars(holder)["save_own_variables"] = partial(store, holder)
    try:
        yield
    finally:
        for holder in changed:
            vars(holder).pop("save_own_variables", None)


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
