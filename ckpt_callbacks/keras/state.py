"""The state of a model that Keras does not write into its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..run.source import Embedded
from .embedded import FitState, VolatileState
from .global_generators import random_state
from .model.objects import optimizers, structural
from .model.parts import shapes
from .model.unbuilt import built_since, unbuilt_layers
from .model.unlisted_variables import uncounted
from .other_callbacks import OtherCallbacks


def volatile_state(model: keras.Model, others: OtherCallbacks, *, keep: bool = False) -> VolatileState:
    """Return the current volatile state.

    Args:
        model: The model that is trained.
        others: The other callbacks of the fit.
        keep: Whether the state must not change later; see `OtherCallbacks.states`.
    """
    return VolatileState(
        random_state(), values(seed_variables(model)), values(metrics_variables(model)), others.states(keep=keep),
        uncounted(model).values(),
    )  # fmt: skip


def prepare_state(model: keras.Model) -> None:
    """Find the parts of a model's state in advance; see `unchanged`."""
    for find in (seed_variables, metrics_variables, uncounted, further_optimizers, unbuilt_layers, shapes):
        find(model)


def fit_state(model: keras.Model, embedded: Embedded, volatile: VolatileState, position: Mapping[str, Any]) -> FitState:
    """Return the state that a checkpoint of a model embeds.

    Args:
        model: The model that is trained.
        embedded: The state of the run.
        volatile: The volatile state at the place of the checkpoint.
        position: The place in the epoch; see `Progress.position`.
    """
    return FitState(
        run=embedded.run,
        record=embedded.record,
        backend=keras.backend.backend(),
        optimizer=optimizer_name(model) if model.optimizer is not None and model.optimizer.built else "",
        further_optimizers=further_optimizers(model),
        unbuilt=tuple(unbuilt_layers(model)),
        volatile=volatile if position["batch"] else dataclasses.replace(volatile, metrics=()),
        **position,
    )


def optimizer_name(model: keras.Model) -> str:
    """Return the class of the model's optimizer."""
    return type(model.optimizer).__name__


@structural
def further_optimizers(model: keras.Model) -> dict[str, list[int]]:
    """Return the optimizers that do not update just the trainable weights; see `FitState.further_optimizers`."""
    found: dict[str, list[int]] = {}
    places: dict[int, int] = {}
    for path, one in optimizers(model).items():
        if not one.built:
            continue
        places = places or {id(weight): place for place, weight in enumerate(model.weights)}
        stepped = [places.get(id(weight)) for weight in getattr(one, "_trainable_variables", (None,))]
        known = [place for place in stepped if place is not None]
        is_usual = one is model.optimizer and stepped == [places.get(id(w)) for w in model.trainable_variables]
        if len(known) == len(stepped) and not is_usual:  # otherwise, it updates variables outside the model
            found[path] = known
    return found


def build_optimizers(model: keras.Model, state: FitState) -> None:
    """Create the variables of the optimizers of a checkpoint, unless they exist.

    Args:
        model: The model.
        state: The state in the checkpoint.
    """
    later = {id(weight) for layer in built_since(model, state.unbuilt) for weight in layer.weights}
    found, weights = optimizers(model), [weight for weight in model.weights if id(weight) not in later]
    further = state.further_optimizers
    wanted = {path: found.get(path, getattr(model, path, None)) for path in further}
    if state.optimizer and not model.optimizer.built and all(one is not model.optimizer for one in wanted.values()):
        model.optimizer.build([one for one in model.trainable_variables if id(one) not in later])
    for path, one in wanted.items():
        places = further[path]
        if isinstance(one, keras.optimizers.Optimizer) and not one.built and max(places, default=0) < len(weights):
            one.build([weights[place] for place in places])


@structural
def metrics_variables(model: keras.Model) -> list[Any]:
    """Return the variables of the model's metrics."""
    return list(model.metrics_variables)


@structural
def seed_variables(model: keras.Model) -> list[Any]:
    """Return the variables of the model's random layers, which Keras does not count among the weights."""
    weights = {id(variable) for variable in model.non_trainable_weights}
    return [variable for variable in model.non_trainable_variables if id(variable) not in weights]


def values(variables: Sequence[Any]) -> tuple[np.ndarray, ...]:
    """Return copies of the values of variables."""
    return tuple(np.array(keras.ops.convert_to_numpy(variable)) for variable in variables)


def assign(variables: Sequence[Any], wanted: Sequence[np.ndarray]) -> bool:
    """Assign values to variables. If the shapes differ, change nothing and return False."""
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in wanted]:
        return False
    for variable, value in zip(variables, wanted, strict=True):
        variable.assign(value)
    return True
