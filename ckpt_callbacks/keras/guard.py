"""Notices exceptions in a training step and in its data, for which Keras has no hook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from .train_function import Substitute

_JAX_STATE = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")


class Guard(Substitute):
    """Stands before ``model.train_function``, and calls ``failed`` when it raises; the exception goes on.

    Args:
        model: The model that is trained. failed: called with the exception.
    """

    def __init__(self, model: keras.Model, failed: Callable[[Exception], None]) -> None:
        super().__init__(model)
        self._failed = failed

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self.function(*arguments)
        except Exception as error:
            if not _ends_the_data(error):
                self._tell(error, arguments[:-1])
            raise

    def _tell(self, error: Exception, state: tuple[Any, ...]) -> None:
        if state and not _give_back(self.model, state[0]):
            error = StateIsGone()  # JAX had given the memory of the old state to the step that failed
        self._failed(error)


class StateIsGone(Exception):
    """A step failed, and the state before it exists no more."""


class GuardedData:
    """Batches from ``source``, calling ``failed`` when taking one raises."""

    def __init__(self, source: Iterable[Any], failed: Callable[[Exception], None]) -> None:
        self._source, self._failed = source, failed

    def __iter__(self) -> Iterator[Any]:
        return self._pass_on(iter(self._source))  # begun at once, as without us: a torch loader draws a seed then

    def _pass_on(self, batches: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from batches
        except Exception as error:
            self._failed(error)
            raise


def _ends_the_data(error: Exception) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return isinstance(error, StopIteration) or (
        tensorflow is not None and isinstance(error, tensorflow.errors.OutOfRangeError)
    )


def _give_back(model: keras.Model, state: tuple[list[Any], ...]) -> bool:
    """Give a model on JAX the state that a step began with; False when it is gone."""
    if any(getattr(array, "is_deleted", bool)() for arrays in state for array in arrays):
        return False
    # While it trains, the state is in the hands of `fit`; this is how a callback gets it into the variables.
    model._jax_state, model._jax_state_synced = dict(zip(_JAX_STATE, state, strict=True)), False
    model.jax_state_sync()
    return True
