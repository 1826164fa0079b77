"""The guards of a fit, which report what its batches and their data raise."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from ..policy.policy import Policy
from .fit_call import FitCall
from .function_guard import FunctionGuard
from .global_generators import random_state, set_random_state
from .replaced_function import TEST, TRAIN


class Guards:
    """The guards of a fit, as far as its policy saves after exceptions. Keras has no hook for exceptions.

    Args:
        model: The model that is trained.
        call: The call of `fit`.
        policy: The policy.
        failed: Called with an exception before it propagates.
    """

    def __init__(
        self, model: keras.Model, call: FitCall, policy: Policy, failed: Callable[[Exception], object]
    ) -> None:
        self._model, self._call, self._policy, self._failed = model, call, policy, failed
        self._validation: FunctionGuard | None = None
        self._validated: Callable[[], Any] = lambda: None  # the validation data that is guarded

    def begin_training(self) -> None:
        """Guard the training. Call it when the first epoch begins."""
        if self._policy.saves_on_exception or self._policy.saves_on_preempt:
            self._guard_function(TRAIN)
            self._guard_data(self._call.data, self._call.batches)

    def begin_validation(self) -> None:
        """Guard a validation, in `on_test_begin`."""
        if not self._policy.saves_on_preempt:
            return
        self._validation = self._guard_function(TEST)
        data = self._call.validation_data(self._model)
        if data is not None and data is not self._validated():  # Keras keeps it until the fit ends
            self._guard_data(data)
            self._validated = weakref.ref(data)

    def end_validation(self) -> None:
        """End the guard of a validation."""
        if self._validation is not None:
            self._validation.end()

    def _guard_function(self, name: str) -> FunctionGuard | None:
        # In a custom training loop, Keras may make the function later, but only if there is none.
        return None if getattr(self._model, name) is None else FunctionGuard(self._model, name, self._failed)

    def _guard_data(self, data: Any, batches: int | None = None) -> None:
        """Report what the data raise, also where `FunctionGuard` does not see it.

        Args:
            data: The iterator over the batches of each epoch.
            batches: The number of batches in an epoch, if it is known.
        """
        if data is None:
            return
        failed, steps = self._failed, _unbound(data._enumerate_iterator)
        count = None if batches is None else -(-batches // self._model.steps_per_execution)
        data._enumerate_iterator = lambda: _reported(steps(), failed, count)
        if keras.backend.backend() == "torch":  # the other backends draw in the train or test function
            take = _unbound(data._get_iterator)
            data._get_iterator = lambda: _GuardedBatches(take(), failed)


class _GuardedBatches:
    """The batches of a source; exceptions are reported before they propagate.

    Args:
        source: The batches.
        failed: Called with the exception when a batch cannot be drawn.
    """

    def __init__(self, source: Iterable[Any], failed: Callable[[Exception], object]) -> None:
        self._source, self._failed = source, failed

    def __iter__(self) -> Iterator[Any]:
        return _reported(iter(self._source), self._failed)  # at once, as in Keras: a torch loader then draws a seed


def _reported(items: Iterator[Any], failed: Callable[[Exception], object], count: int | None = None) -> Iterator[Any]:
    random: dict[str, Any] = {}
    try:
        yield from itertools.islice(items, count)
        random = random_state()  # a resume ends the epoch's data again, which may draw random numbers
        yield from items
    except Exception as error:
        if random:
            set_random_state(random)
        failed(error)
        raise


def _unbound(method: Callable[[], Any]) -> Callable[[], Any]:
    # Keras' own method would keep the data, of which it becomes a part, alive until the garbage collector runs.
    if getattr(method, "__self__", None) is None:
        return method  # of another callback
    reference = weakref.WeakMethod(method)
    return lambda: reference()()  # type: ignore[misc]
