"""What there is of a model's state beside what Keras writes into its files, and the facts for a record."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..run.source import Embedded
from .callbacks import OtherCallbacks
from .embedded import Carried, Moment
from .rng import random_state, script_seed


def moment_of(model: keras.Model, siblings: OtherCallbacks) -> Moment:
    """What `Moment` says, now."""
    return Moment(random_state(), values(seed_variables(model)), values(model.metrics_variables), siblings.states())


def carry(model: keras.Model, embedded: Embedded, moment: Moment, position: Mapping[str, Any]) -> Carried:
    """What a checkpoint of ``model`` carries; for ``position``, see `Progress`."""
    return Carried(
        snapshot=embedded.run,
        record=embedded.record,
        backend=keras.backend.backend(),
        optimizer=optimizer_of(model) if model.optimizer is not None and model.optimizer.built else "",
        further=further_optimizers(model),
        moment=moment if position["batch"] else dataclasses.replace(moment, metrics=()),
        **position,
    )


def facts_of(model: keras.Model) -> dict[str, Any]:
    """Facts for the record of a checkpoint."""
    facts: dict[str, Any] = {
        "model": _name(model),
        "framework": "keras",
        "backend": keras.backend.backend(),
        "seed": script_seed(),
    }
    if model.optimizer is not None:
        facts["optimizer"] = type(model.optimizer).__name__
        facts["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    return {name: value for name, value in facts.items() if value is not None}


def _name(model: keras.Model) -> str:
    # Keras numbers the models of a process that have no name: the class alone is the same in each process.
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(model).__name__).lower()
    return type(model).__name__ if re.fullmatch(rf"{snake}(_\d+)?", model.name) else model.name


def optimizer_of(model: keras.Model) -> str:
    """The class of the model's optimizer."""
    return type(model.optimizer).__name__


def further_optimizers(model: keras.Model) -> dict[str, list[int]]:
    """The optimizers that a model has beside the one that it was compiled with; see `Carried.further`."""
    found, places = {}, {}
    for name, one in vars(model).items():
        if not isinstance(one, keras.optimizers.Optimizer) or one is model.optimizer or not one.built:
            continue
        places = places or {id(weight): place for place, weight in enumerate(model.weights)}
        stepped = [places.get(id(weight)) for weight in getattr(one, "_trainable_variables", (None,))]
        if None not in stepped:  # else it steps what is no part of the model, or is another one inside
            found[name] = stepped
    return found


def floats(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """Metrics as plain numbers; what is no number is left out."""
    found = {}
    for name, value in (logs or {}).items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            continue
    return found


def seed_variables(model: keras.Model) -> list[Any]:
    """The variables of the model's random layers, which Keras does not count among the weights."""
    weights = {id(variable) for variable in model.non_trainable_weights}
    return [variable for variable in model.non_trainable_variables if id(variable) not in weights]


def values(variables: Sequence[Any]) -> tuple[np.ndarray, ...]:
    """Copies of what the variables hold."""
    return tuple(np.array(keras.ops.convert_to_numpy(variable)) for variable in variables)


def assign(variables: Sequence[Any], wanted: Sequence[np.ndarray]) -> bool:
    """Give the variables these values; False, and nothing is changed, when the shapes differ."""
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in wanted]:
        return False
    for variable, value in zip(variables, wanted, strict=True):
        variable.assign(value)
    return True
