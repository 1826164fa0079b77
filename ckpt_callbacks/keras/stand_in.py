"""Batches that are taken from the data without training on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras


class StandIn:
    """Stands in for ``model.train_function`` for some calls, then puts it back.

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
        self._model, self._function, self._left = model, model.train_function, calls
        self._logs, self._takes, self._ended = logs, takes, ended
        model.train_function = self

    def __call__(self, *arguments: Any) -> Any:
        # TensorFlow passes an iterator, torch a list of batches, and JAX the model's state and an iterator.
        *state, data = arguments
        if self._takes and not isinstance(data, list):
            for _ in range(self._model.steps_per_execution):
                next(data)
        self._left -= 1
        if self._left == 0:
            self._model.train_function = self._function
            self._ended()
        return (self._logs, *state) if state else self._logs
