"""The names of frozen and of averaged weights in a model's file, which only the model can tell from the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from ...formats.keras.hdf5_part import LEGACY_WEIGHTS
from ...formats.keras.suffix import LEGACY, WEIGHTS
from ...formats.reduction import AVERAGED, AVERAGES, FROZEN
from .objects import optimizers


def named_weights(model: keras.Model, suffix: str, *, averaged: bool = False) -> dict[str, Any]:
    """Return what a file of the model must say about its weights.

    Args:
        model: The model.
        suffix: The suffix of the file.
        averaged: Whether the model holds the averages, and the optimizer the weights that are trained.

    Returns:
        The paths of the datasets of frozen weights under `FROZEN`, and the path of each average, by that of its weight,
        under `AVERAGES`. Nothing if the file's paths cannot be known.
    """
    try:
        places = dict(_legacy_places(model) if suffix == LEGACY else _places(model, suffix))
    except Exception:  # Keras' internals have changed, or the model's own code raises; the file then stays whole
        return {}
    frozen = [places[id(weight)] for weight in _frozen(model) if id(weight) in places]
    averages = {places[id(one)]: places[id(average)] for one, average in _averages(model)
                if id(one) in places and id(average) in places}  # fmt: skip
    return {FROZEN: frozen} | ({AVERAGES: averages, AVERAGED: averaged} if averages and suffix != WEIGHTS else {})


def _frozen(model: keras.Model) -> Iterator[keras.Variable]:
    """Yield the weights that would be trained if they, or their layer, were not frozen."""
    for layer in model._flatten_layers():
        if getattr(layer, "lora_enabled", False):
            continue  # Keras adds the factors to the frozen kernel in a file
        for variable in layer._trainable_variables:
            if not (variable.trainable and layer.trainable):
                yield variable


def _averages(model: keras.Model) -> Iterator[tuple[keras.Variable, keras.Variable]]:
    """Yield each weight that an optimizer averages, with its average."""
    for optimizer in optimizers(model).values():
        if getattr(optimizer, "use_ema", False) and optimizer.built:
            pairs = zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=False)
            yield from ((weight, average) for weight, average in pairs if average is not None)


def _places(model: keras.Model, suffix: str) -> Iterator[tuple[int, str]]:
    """Yield the identity of each variable with its path in a ``.keras`` or ``.weights.h5`` file."""
    from .file_plan import file_plan  # here, because it needs internals of Keras that may be missing

    found = file_plan(model, suffix).found
    paths = [group.place(entry) for group in found.groups for entry in group.entries]
    return ((id(value), path) for value, path in zip(found.values, paths, strict=True))


def _legacy_places(model: keras.Model) -> Iterator[tuple[int, str]]:
    for layer in model.layers:
        yield from ((id(weight), f"{LEGACY_WEIGHTS}/{layer.name}/{weight.path}") for weight in layer.weights)
    if model.optimizer is not None:
        yield from ((id(one), f"optimizer_weights/{one.path}") for one in model.optimizer.variables)
