"""Replacements for ``model.train_function``: one skips batches, one reports exceptions, for which Keras has no hook.

Another one reports the exceptions of ``model.test_function``.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras

_JAX_STATE = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")


class ReplacedTrainFunction:
    """A function that replaces ``model.train_function``.

    Args:
        model: The model that is trained.

    Attributes:
        model: As given.
        function: The function that it replaced.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model, self.function = model, model.train_function
        model.train_function = self


def restore_functions(model: keras.Model) -> None:
    """Restore the model's own train and test functions, also if an exception left others in their place."""
    while isinstance(model.train_function, ReplacedTrainFunction):
        model.train_function = model.train_function.function
    while isinstance(model.test_function, EvaluationGuard):
        model.test_function.end()


class BatchSkipper(ReplacedTrainFunction):
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

    def end(self) -> None:
        """Restore the original, if that has not happened yet."""
        if self.model.train_function is self:
            self.model.train_function = self.function


class ExceptionGuard(ReplacedTrainFunction):
    """A train function that calls the original, and reports an exception before it propagates.

    Args:
        model: The model that is trained.
        failed: Called with the exception.
    """

    def __init__(self, model: keras.Model, failed: Callable[[Exception], None]) -> None:
        super().__init__(model)
        self._failed = failed

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self.function(*arguments)
        except Exception as error:
            if not _ends_the_data(error):
                self._report(error, arguments[:-1])
            raise

    def _report(self, error: Exception, state: tuple[Any, ...]) -> None:
        if state and not _restore_jax_state(self.model, state[0]):
            error = StateIsGone()  # JAX had given the memory of the old state to the step that failed
        self._failed(error)


class StateIsGone(Exception):
    """A step failed, and the state before it no longer exists."""


class GuardedData:
    """The batches of a source; exceptions are reported before they propagate.

    Args:
        source: The batches.
        failed: Called with the exception when a batch cannot be drawn.
    """

    def __init__(self, source: Iterable[Any], failed: Callable[[Exception], None]) -> None:
        self._source, self._failed = source, failed

    def __iter__(self) -> Iterator[Any]:
        return self._batches(iter(self._source))  # at once, as in Keras: a torch loader then draws a seed

    def _batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from batches
        except Exception as error:
            self._failed(error)
            raise


class EvaluationGuard:
    """A test function that calls the original, and reports an exception before it propagates.

    Args:
        model: The model that is validated.
        failed: A method that is called with the exception. Its object is not kept alive.
    """

    def __init__(self, model: keras.Model, failed: Callable[[Exception], object]) -> None:
        self._model, self.function, self._failed = model, model.test_function, weakref.WeakMethod(failed)
        model.test_function = self

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self.function(*arguments)
        except Exception as error:
            if not _ends_the_data(error):
                self.end()
                if (failed := self._failed()) is not None:
                    failed(error)
            raise

    def end(self) -> None:
        """Restore the original, also if the guard of another callback has replaced this one. Later calls do nothing."""
        outer = self._model.test_function
        if outer is self:
            self._model.test_function = self.function
        while isinstance(outer, EvaluationGuard):
            if outer.function is self:
                outer.function = self.function
            outer = outer.function


def _ends_the_data(error: Exception) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return isinstance(error, StopIteration) or (
        tensorflow is not None and isinstance(error, tensorflow.errors.OutOfRangeError)
    )


def _restore_jax_state(model: keras.Model, state: tuple[list[Any], ...]) -> bool:
    """Give a model on JAX the state that a step began with. Return False if that state no longer exists."""
    if any(getattr(array, "is_deleted", bool)() for arrays in state for array in arrays):
        return False
    # While a model trains, `fit` holds the state. This is how a callback writes it to the variables.
    model._jax_state, model._jax_state_synced = dict(zip(_JAX_STATE, state, strict=True)), False
    model.jax_state_sync()
    return True
