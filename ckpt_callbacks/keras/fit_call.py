"""What a running `fit` knows and does not tell its callbacks.

Callbacks learn the number of epochs and, when it is known beforehand, of batches. Whether there is a validation set,
whether the data is exhausted, and whether `fit` still runs stand only in its local variables, which are read here.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import keras

from .callbacks import OtherCallbacks
from .exactness import what_is_inexact
from .guard import GuardedData


class FitCall:
    """One call of `model.fit`; where it cannot be found, everything about it is unknown.

    Attributes:
        validates: A validation set was given; taken to be so when unknown.
    """

    def __init__(self, variables: dict[str, Any]) -> None:
        self.validates = variables.get("validation_data", True) is not None
        self._shuffle = variables.get("shuffle")
        # Weak, because a callback outlives `fit`, and the data should not.
        self._callbacks = _weak(variables.get("callbacks"))
        self._data = _weak(variables.get("epoch_iterator"))

    @classmethod
    def of(cls, model: keras.Model) -> FitCall:
        """The innermost call of ``model.fit`` that this thread is in."""
        for frame in _outwards(sys._getframe()):
            if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model:
                return cls(frame.f_locals)
        return cls({})

    @property
    def batches(self) -> int | None:
        """Batches in an epoch; None until a source of unknown length is exhausted for the first time."""
        data = self._data()
        return None if data is None else data.num_batches

    @property
    def batch_spec(self) -> Any:
        """Shapes and types of a batch, for TensorFlow, which creates variables only when it sees one; or None."""
        return getattr(getattr(self._data(), "_distributed_dataset", None), "element_spec", None)

    @property
    def inexact(self) -> str | None:
        """Why a resumed run cannot see the same data in the same order, and what it does; None when it can."""
        return what_is_inexact(self._data(), self._shuffle)

    def guard_data(self, failed: Callable[[Exception], None]) -> None:
        """Call ``failed`` when the data raises, where `fit` takes it from outside of ``model.train_function``."""
        data = self._data()
        if data is not None and keras.backend.backend() == "torch":
            take = data._get_iterator
            data._get_iterator = lambda: GuardedData(take(), failed)

    @property
    def is_running(self) -> bool:
        """The call has not ended, neither normally nor by an exception, in any thread."""
        callbacks = self._callbacks()
        return callbacks is not None and any(
            frame.f_code.co_name == "fit" and frame.f_locals.get("callbacks") is callbacks
            for innermost in sys._current_frames().values()
            for frame in _outwards(innermost)
        )

    def siblings(self, ours: keras.callbacks.Callback) -> OtherCallbacks:
        """The callbacks beside ``ours``; Keras' own, such as `History`, among them."""
        callbacks = self._callbacks()
        if callbacks is None:
            return OtherCallbacks()
        return OtherCallbacks([c for c in callbacks.callbacks if c is not ours], callbacks._flush_futures)

    @property
    def validates_averages(self) -> bool:
        """What is validated are averaged weights, and what is there at an epoch's end are not."""
        callbacks = self._callbacks()
        swaps = keras.callbacks.SwapEMAWeights
        return callbacks is not None and any(isinstance(c, swaps) and not c.swap_on_epoch for c in callbacks.callbacks)

    def holds_twice(self, ours: keras.callbacks.Callback) -> bool:
        """One object was given more than once, which would be called twice for everything."""
        callbacks = self._callbacks()
        return callbacks is not None and sum(callback is ours for callback in callbacks.callbacks) > 1

    def surround(self, ours: keras.callbacks.Callback, ahead: keras.callbacks.Callback) -> None:
        """From the next hook on, call ``ahead`` before all other callbacks, and ``ours`` after them."""
        callbacks = self._callbacks()
        if callbacks is not None:
            # A new list: the present one is being walked through.
            callbacks.callbacks = [ahead, *(c for c in callbacks.callbacks if c is not ours), ours]


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _weak(value: Any) -> Callable[[], Any]:
    return (lambda: None) if value is None else weakref.ref(value)
