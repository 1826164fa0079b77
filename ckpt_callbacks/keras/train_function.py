"""What stands in the place of ``model.train_function`` for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras


class Substitute:
    """Takes the place of ``model.train_function``.

    Attributes:
        model: The model. function: what was there before.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model, self.function = model, model.train_function
        model.train_function = self


def put_back(model: keras.Model) -> None:
    """Remove every `Substitute`, also those that an exception left behind."""
    while isinstance(model.train_function, Substitute):
        model.train_function = model.train_function.function


class StandIn(Substitute):
    """Takes batches from the data without training on them; then puts back what was there.

    Args:
        model: The model that is trained. calls: how often `fit` will call this.
        logs: What each call returns as its metrics.
        takes: Each call takes its batches from the data. ended: called at the end of the last one.
    """

    def __init__(
        self,
        model: keras.Model,
        calls: int,
        logs: Mapping[str, float],
        *,
        takes: bool = True,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(model)
        self._left, self._logs, self._takes, self._ended = calls, logs, takes, ended

    def __call__(self, *arguments: Any) -> Any:
        # TensorFlow passes an iterator, torch a list of batches, and JAX the model's state and an iterator.
        *state, data = arguments
        if self._takes and not isinstance(data, list):
            next(data)
            for _ in range(self.model.steps_per_execution - 1):
                next(data, None)  # the last execution of an epoch may be a short one
        self._left -= 1
        if self._left == 0:
            self.model.train_function = self.function
            self._ended()
        return (self._logs, *state) if state else self._logs
