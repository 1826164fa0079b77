"""The arguments and state of the running `fit` that Keras does not pass to callbacks.

Callbacks get the number of epochs and, if it is known in advance, the number of batches. Only the local variables of
`fit`, which this module reads, tell whether there is a validation set, whether the data is exhausted, and whether `fit`
is still running.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import keras

from .exactness import what_is_inexact
from .model.build import build
from .other_callbacks import OtherCallbacks

# The lists of callbacks of the calls that a policy has ended; see `FitCall.end`.
_ended: weakref.WeakSet[keras.callbacks.CallbackList] = weakref.WeakSet()


class FitCall:
    """One call of `model.fit`. If the call cannot be found, everything about it is unknown.

    Args:
        variables: The local variables of the call.

    Attributes:
        validates: True if a validation set was given, or if that is unknown.
        initial_epoch: The argument of that name.
        batches: The number of batches in an epoch, if it was known when the call began. On TensorFlow, the number that
            Keras learns later also counts the attempt to draw one more batch.
        identity: Equal for all callbacks of the call.
    """

    def __init__(self, variables: dict[str, Any]) -> None:
        self.validates = variables.get("validation_data", True) is not None
        self.initial_epoch: int = variables.get("initial_epoch", 0)
        self._shuffle, self._is_ended = variables.get("shuffle"), False
        # Weak, because a callback outlives `fit`, but the data should not.
        self._callbacks = self.identity = _weak(variables.get("callbacks"))
        self._data = _weak(variables.get("epoch_iterator"))
        self.batches: int | None = getattr(self._data(), "num_batches", None)
        self._thread = threading.current_thread()

    @classmethod
    def of(cls, model: keras.Model) -> FitCall:
        """Return the innermost call of ``model.fit`` on this thread."""
        for frame in _outwards(sys._getframe()):
            if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model:
                return cls(frame.f_locals)
        return cls({})

    @property
    def _batch_spec(self) -> Any:
        """The shapes and types of a batch, which TensorFlow needs to create variables; None if unknown."""
        return getattr(getattr(self._data(), "_distributed_dataset", None), "element_spec", None)

    def build(self, model: keras.Model) -> Exception | None:
        """Create the variables of a model and its metrics. Return the error that prevents this, if there is one.

        On torch and JAX, `fit` does this before it calls any callback; on TensorFlow, at the first batch.
        """
        spec = self._batch_spec
        return None if spec is None else build(model, spec)

    @property
    def inexact(self) -> str | None:
        """The reason why a resumed run cannot see the same data in the same order; None if it can."""
        return what_is_inexact(self._data(), self._shuffle)

    @property
    def data(self) -> Any:
        """The iterator over the epochs' batches; None if it is unknown, or no longer exists."""
        return self._data()

    def validation_data(self, model: keras.Model) -> Any:
        """Return the same for the running validation, in a hook of it."""
        for frame in _outwards(sys._getframe()):
            if frame.f_code.co_name == "evaluate" and frame.f_locals.get("self") is model:
                found = frame.f_locals.get("epoch_iterator")
                return found if isinstance(found, type(self._data())) else None
        return None

    def watch_data(self, ended: Callable[[bool], None]) -> None:
        """Call ``ended`` when the data of an epoch ends before the number of batches that Keras expects.

        Args:
            ended: Called with True if Keras noticed the end because it could not draw a batch.
        """
        data = self._data()
        if data is None:
            return
        warn = data._interrupted_warning  # Keras calls it in this case only

        def interrupted() -> None:
            ended(isinstance(sys.exc_info()[1], StopIteration))
            warn()

        data._interrupted_warning = interrupted

    @property
    def is_validating(self) -> bool:
        """True if the running hook belongs to a validation of `fit` itself, not to one that a callback runs."""
        callbacks, hooks = self._callbacks(), 0
        for frame in _outwards(sys._getframe()):
            variables = frame.f_locals
            if frame.f_code.co_name == "fit" and variables.get("callbacks") is callbacks:
                return callbacks is not None and hooks == 1
            if isinstance(variables.get("self"), keras.callbacks.CallbackList):
                hooks += 1
        return False

    @property
    def is_running(self) -> bool:
        """True while the call runs, in any thread."""
        callbacks = self._callbacks()
        if callbacks is None or not self._thread.is_alive():
            return False
        # No frames of another thread, if possible: in CPython 3.11, one that is just beginning has a garbled `f_back`.
        is_here = self._thread is threading.current_thread()
        innermost = sys._getframe() if is_here else sys._current_frames().get(self._thread.ident or 0)
        return any(
            frame.f_code.co_name == "fit" and frame.f_locals.get("callbacks") is callbacks
            for frame in _outwards(innermost)
        )

    def may_be_running(self) -> bool:
        """Return False if the call has ended."""
        return not self.is_known or self.is_running

    def end(self) -> None:
        """Record, for all callbacks of the call, that a policy has ended it."""
        self._is_ended = True
        if (callbacks := self._callbacks()) is not None:
            _ended.add(callbacks)

    @property
    def is_ended(self) -> bool:
        """True after `end`, which any callback of the call may have called."""
        return self._is_ended or self._callbacks() in _ended

    @property
    def callbacks(self) -> list[keras.callbacks.Callback] | None:
        """All callbacks of the call, including those that Keras adds; None if the call was not found."""
        callbacks = self._callbacks()
        return None if callbacks is None else list(callbacks.callbacks)

    def other_callbacks(self, own: keras.callbacks.Callback) -> OtherCallbacks:
        """Return the callbacks other than ``own``, including those that Keras adds, such as `History`."""
        callbacks = self._callbacks()
        if callbacks is None:
            return OtherCallbacks()
        return OtherCallbacks([c for c in callbacks.callbacks if c is not own], callbacks._flush_futures)

    @property
    def validates_averages(self) -> bool:
        """True if averaged weights are validated, but the model holds other weights at an epoch's end."""
        callbacks = self._callbacks()
        swaps = keras.callbacks.SwapEMAWeights
        return callbacks is not None and any(isinstance(c, swaps) and not c.swap_on_epoch for c in callbacks.callbacks)

    @property
    def has_backup(self) -> bool:
        """True if Keras' `BackupAndRestore` is one of the callbacks."""
        callbacks, kind = self._callbacks(), keras.callbacks.BackupAndRestore
        return callbacks is not None and any(isinstance(callback, kind) for callback in callbacks.callbacks)

    def holds_twice(self, own: keras.callbacks.Callback) -> bool:
        """Return whether a callback was passed more than once, so that each of its hooks would be called twice."""
        callbacks = self._callbacks()
        return callbacks is not None and sum(callback is own for callback in callbacks.callbacks) > 1

    @property
    def is_known(self) -> bool:
        """True if the call was found; False in a training loop that calls the callbacks itself."""
        return self._callbacks() is not None

    def at_last(self, begin: Callable[[], None]) -> None:
        """Call ``begin`` after the `on_train_begin` of all callbacks, or at once if the call is unknown."""
        callbacks = self._callbacks()
        if callbacks is None:
            begin()
        else:
            callbacks.callbacks.append(_Last(begin, callbacks))  # Keras is iterating over this list

    def surround(self, first: keras.callbacks.Callback, last: keras.callbacks.Callback) -> None:
        """From the next hook on, call ``first`` before all other callbacks, and ``last`` after them."""
        callbacks = self._callbacks()
        if callbacks is not None:
            # A new list, because Keras is iterating over the current one.
            others = [c for c in callbacks.callbacks if c is not last and not isinstance(c, _Last)]
            callbacks.callbacks = [first, *others, last]


def running_callbacks(own: keras.callbacks.Callback) -> keras.callbacks.CallbackList | None:
    """Return the list that calls a hook of ``own`` now, in `fit` or in a training loop of one's own; None if none."""
    for frame in _outwards(sys._getframe()):
        found = frame.f_locals.get("self")
        if isinstance(found, keras.callbacks.CallbackList) and any(one is own for one in found.callbacks):
            return found
    return None


class _Last(keras.callbacks.Callback):
    """A callback that calls a function in `on_train_begin`, after all others in the list."""

    def __init__(self, begin: Callable[[], None], callbacks: keras.callbacks.CallbackList) -> None:
        super().__init__()
        self._begin, self._callbacks = begin, callbacks

    def on_train_begin(self, logs: Any = None) -> None:
        there = self._callbacks.callbacks
        later = there[there.index(self) + 1 :] if self in there else []  # `surround` leaves out what has had its turn
        if all(isinstance(callback, _Last) for callback in later):
            self._begin()
        else:  # another one was added meanwhile
            there.append(_Last(self._begin, self._callbacks))


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _weak(value: Any) -> Callable[[], Any]:
    return (lambda: None) if value is None else weakref.ref(value)
