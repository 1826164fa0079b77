"""The plain attributes of a model, its layers and its optimizers, such as the ``momentum`` of `SGD`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from ..runtime.visible_values import visible
from .model.objects import objects, optimizers

_PLAIN = (int, float, type(None))
_FRAMEWORKS = ("keras", "tensorflow", "torch", "jax")
# Keras itself changes these. Attributes of its other classes are the script's settings.
_OF_KERAS = {"built", "stop_evaluating", "stop_predicting", "stop_training", "training"}


class PlainAttributes:
    """The plain attributes of a model and its optimizers, of which those that training changes are named once.

    Args:
        model: The model, when a fit begins.
    """

    def __init__(self, model: keras.Model) -> None:
        self._holders: list[tuple[str, Any]] | None = list(_holders(model))
        self._first = self._of_optimizers()
        self._of_model: dict[str, Any] | None = None
        self._named = False

    def begin(self, model: keras.Model) -> None:
        """Note the model's own attributes after the first batch. Later calls do nothing."""
        if self._of_model is None:
            self._of_model = dict(_of_model(model))

    def changed_in_optimizers(self) -> list[str]:
        """Return the names of optimizers' attributes that have changed since the fit began, once."""
        if self._holders is None:
            return []
        names = sorted(name for name, value in self._of_optimizers().items() if self._first.get(name, value) != value)
        if names:
            self._holders = None
        return names

    def changed_in_model(self, model: keras.Model) -> list[str]:
        """Return the names of the model's attributes that have changed since its first batch, once."""
        if self._named:
            return []
        self.begin(model)
        before = self._of_model or {}
        names = [name for name, value in _of_model(model) if name not in before or before[name] != value]
        self._named = bool(names)
        return names

    def _of_optimizers(self) -> dict[str, Any]:
        return {
            f"{path}.{name}": value
            for path, one in self._holders or ()
            for name, value in vars(one).items()
            if isinstance(value, _PLAIN) and not name.startswith("_") and name != "built"
        }


def _holders(model: keras.Model) -> Iterator[tuple[str, Any]]:
    for path, one in optimizers(model).items():
        yield path, one
        schedule = getattr(one, "_learning_rate", None)
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            yield f"{path}.learning_rate", schedule


def _of_model(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of the user's own classes, except those that save more than their variables."""
    for path, one in (("model", model), *objects(model)):
        if not isinstance(one, keras.layers.Layer | keras.losses.Loss) or _saves_more(one):
            continue
        for name, value in vars(one).items():
            if not name.startswith("_") and name not in _OF_KERAS and (seen := visible(value)) is not None:
                yield f"{path}.{name}", seen


def _saves_more(one: Any) -> bool:
    if type(one).__module__.split(".")[0] in _FRAMEWORKS:
        return True  # nothing of it changes
    own = getattr(type(one), "save_own_variables", None)
    return own is not None and own is not keras.layers.Layer.save_own_variables
