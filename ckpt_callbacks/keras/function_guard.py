"""A guard of ``model.train_function`` or ``model.test_function``, which reports exceptions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras

from .replaced_function import TRAIN, ReplacedFunction

_TRAIN_STATE = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
_TEST_STATE = tuple(name for name in _TRAIN_STATE if name != "optimizer_variables")


class FunctionGuard(ReplacedFunction):
    """A function that calls the one that it replaced, and reports an exception, for which Keras has no hook.

    Args:
        model: The model that is trained.
        name: The attribute of the model that it replaces.
        failed: Called with the exception before it propagates.
    """

    def __init__(self, model: keras.Model, name: str, failed: Callable[[Exception], object]) -> None:
        super().__init__(model, name)
        self._failed, self._state = failed, _TRAIN_STATE if name == TRAIN else _TEST_STATE

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self.function(*arguments)
        except Exception as error:
            if not _ends_the_data(error):
                self._report(error, arguments[:-1])
            raise

    def _report(self, error: Exception, state: tuple[Any, ...]) -> None:
        self.end()
        if state and not self._restore_jax_state(state[0]):
            gone = StateIsGone()  # JAX had given the memory of the old state to the step that failed
            gone.__cause__ = error
            error = gone
        self._failed(error)

    def _restore_jax_state(self, state: tuple[list[Any], ...]) -> bool:
        """Give a model on JAX the state that a step began with. Return False if that state no longer exists."""
        if any(getattr(array, "is_deleted", bool)() for arrays in state for array in arrays):
            return False
        # While a model trains, `fit` holds the state. This is how a callback writes it to the variables.
        model = self.model
        model._jax_state, model._jax_state_synced = dict(zip(self._state, state, strict=True)), False
        model.jax_state_sync()
        return True


class StateIsGone(Exception):
    """A step failed, and the state before it no longer exists. The exception of the step is its cause."""


def _ends_the_data(error: Exception) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return isinstance(error, StopIteration) or (
        tensorflow is not None and isinstance(error, tensorflow.errors.OutOfRangeError)
    )
