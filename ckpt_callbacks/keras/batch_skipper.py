"""A replacement for ``model.train_function`` that skips batches, for which Keras has no hook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from .replaced_function import ReplacedFunction


class BatchSkipper(ReplacedFunction):
    """A train function that draws batches without training on them, and then restores the one that it replaced.

    Args:
        model: The model that is trained.
        calls: Number of calls until the original is restored. None to skip until `end` is called.
        logs: The metrics that each call returns.
        draws: Whether each call draws its batches from the data.
        drawn: Called with the first batch.
        skipped: Called at the end of the last call.
    """

    def __init__(
        self,
        model: keras.Model,
        calls: int | None,
        logs: Mapping[str, float],
        *,
        draws: bool = True,
        drawn: Callable[[Any], None] | None = None,
        skipped: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(model)
        self._left, self._logs, self._draws, self._drawn, self._skipped = calls, logs, draws, drawn, skipped

    def __call__(self, *arguments: Any) -> Any:
        # TensorFlow passes an iterator, torch a list of batches, and JAX the model's state and an iterator.
        *state, data = arguments
        if self._draws:
            batch = data[0] if isinstance(data, list) else next(data)
            for _ in range(0 if isinstance(data, list) else self.model.steps_per_execution - 1):
                next(data, None)  # the last execution of an epoch may be short
            drawn, self._drawn = self._drawn, None
            if drawn is not None:
                drawn(batch)
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.end()
                self._skipped()
        return (self._logs, *state) if state else self._logs

    @property
    def left(self) -> int:
        """The number of calls that still have to be skipped; 0 if there is no limit."""
        return self._left or 0
