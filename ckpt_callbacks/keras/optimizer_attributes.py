"""The plain attributes of optimizers and their schedules, such as the ``momentum`` of `SGD`, which no file holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from .model.objects import optimizers

_PLAIN = (int, float, type(None))


class OptimizerAttributes:
    """The plain attributes of a model's optimizers when a fit begins.

    Args:
        model: The model.
    """

    def __init__(self, model: keras.Model) -> None:
        self._holders = list(_holders(model))
        self._first = self._current()

    def changed(self) -> list[str]:
        """Return the names of the attributes that have other values now."""
        return sorted(name for name, value in self._current().items() if self._first.get(name, value) != value)

    def _current(self) -> dict[str, Any]:
        return {
            f"{path}.{name}": value
            for path, one in self._holders
            for name, value in vars(one).items()
            if isinstance(value, _PLAIN) and not name.startswith("_") and name != "built"
        }


def _holders(model: keras.Model) -> Iterator[tuple[str, Any]]:
    for path, one in optimizers(model).items():
        yield path, one
        schedule = getattr(one, "_learning_rate", None)
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            yield f"{path}.learning_rate", schedule
