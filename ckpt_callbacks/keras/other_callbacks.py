"""The state of the other callbacks of a `fit`, which they lose when the next `fit` begins."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from ..formats.keras.own_arrays import packed_offsets
from .arrays import plain
from .hook_effects import may_change_model, may_log, may_part_measured_and_saved, may_replace_weights, see_batches

log = logging.getLogger("ckpt_callbacks")

_FIELDS = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "best_weights", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.History: ("epoch", "history"),
    # Without the best value, the next epoch would replace the best file.
    keras.callbacks.ModelCheckpoint: ("best", "_batches_seen_since_last_saving", "_last_batch_seen"),
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),  # without it, they would not be swapped back
}

States = tuple[dict[str, Any], ...]


class _Frequency(int):
    """The `update_freq` of TensorBoard, which asks whether a step is a multiple of it. No step before ``first`` is."""

    first = 0

    def __rmod__(self, step: int) -> int:
        return int(step) % int(self) if step >= self.first else 1


class OtherCallbacks:
    """The callbacks of a `fit`, other than `KerasCheckpoint`, that have a state to keep.

    These are Keras' callbacks in `_FIELDS`, their subclasses, and every callback with ``state_dict()`` and
    ``load_state_dict(state)`` whose state consists of JSON values and arrays.

    Args:
        callbacks: All callbacks of the `fit` except `KerasCheckpoint`.
        flush: Waits for the hooks that Keras has called on another thread.

    Attributes:
        may_change_model: Whether hooks that are called again in a resumed epoch may change the model.
        may_log: Whether hooks may add metrics to those of an epoch.
        may_replace_weights: Whether hooks may put other weights into the model for a validation.
        may_part_measured_and_saved: Whether a save may hold other weights than the validation before it has measured.
        collect: Whether one of them has batch hooks and no state to keep, so that it may compute metrics from what it
            sees in each batch.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback] = (), flush: Callable[[], None] = lambda: None
    ) -> None:
        self._flush, self.may_change_model = flush, may_change_model(callbacks)
        self.may_log = may_log(callbacks)
        self.may_replace_weights = may_replace_weights(callbacks)
        self.may_part_measured_and_saved = may_part_measured_and_saved(callbacks)
        self._callbacks = [callback for callback in callbacks if _fields(callback) or _has_protocol(callback)]
        self.collect = see_batches([callback for callback in callbacks if not _has_protocol(callback)])
        self._faulty: set[int] = set()
        self._muted: list[tuple[keras.callbacks.Callback, int]] = []  # with their update_freq

    @property
    def averages_in_model(self) -> bool:
        """Whether the model holds averages now, and its optimizer the weights that are trained."""
        swaps = [one for one in self._callbacks if isinstance(one, keras.callbacks.SwapEMAWeights)]
        return any(one._ema_weights_in_model for one in swaps)

    def states(self, *, keep: bool) -> States:
        """Return their current states.

        Args:
            keep: Whether to copy the arrays, so that later hooks cannot change them. This takes time and memory.
        """
        self._flush()
        found = []
        for name, callback in self._named():
            fields = {field: _copied(getattr(callback, field, None)) for field in _fields(callback)}
            found.append({"callback": name, "fields": fields, "own": self._own(callback, keep)})
        return tuple(found)

    def expected_size(self, model: keras.Model) -> int:
        """Return the probable size in bytes of the arrays in the states.

        Args:
            model: The model that is trained.
        """
        best = [
            one
            for one in self._callbacks
            if isinstance(one, keras.callbacks.EarlyStopping) and one.restore_best_weights
        ]
        sizes = (math.prod(w.shape) * np.dtype(w.dtype).itemsize for w in model.weights)
        return len(best) * packed_offsets(sizes)[1] if best else 0

    def restore(self, states: States) -> list[str]:
        """Restore the states that `states` returned, and return the names that have no match.

        Args:
            states: The states, which are matched to the callbacks by class and order.
        """
        self._flush()
        self.unmute()
        wanted = dict(_numbered(state["callback"] for state in states))
        found = dict(_numbered(name for name, _ in self._named()))
        for key in wanted.keys() & found.keys():
            self._restore(self._callbacks[found[key]], states[wanted[key]])
        return sorted(name for name, _ in wanted.keys() ^ found.keys())

    def rewind(self, batches: int, begun: int) -> None:
        """Set back the callbacks' batch counters, because Keras counts the skipped batches of an epoch again.

        Args:
            batches: The number of batches of the epoch that were trained on.
            begun: The number of executions that have begun.
        """
        for callback in self._callbacks:
            if "_global_train_batch" in _fields(callback):
                callback._global_train_batch = max(0, callback._global_train_batch - begun)
            if "_last_batch_seen" in _fields(callback):  # below 0, so that no skipped batch is saved again
                callback._batches_seen_since_last_saving -= batches
                callback._last_batch_seen = sys.maxsize  # so that the next batch counts as the first of an epoch

    def mute(self, calls: int) -> None:
        """Keep TensorBoard from logging the batches that are skipped, because an earlier fit has logged them.

        Args:
            calls: The number of executions that are skipped. The last one is logged, since its values are known, and
                TensorBoard may have kept them in memory.
        """
        for callback in self._callbacks:
            if isinstance(callback, keras.callbacks.TensorBoard) and callback.update_freq != "epoch":
                self._muted.append((callback, callback.update_freq))
                callback.update_freq = _Frequency(callback.update_freq)
                callback.update_freq.first = callback._global_train_batch + calls

    def unmute(self) -> None:
        """Undo `mute`."""
        while self._muted:
            callback, frequency = self._muted.pop()
            callback.update_freq = frequency

    def stopped(self, states: States) -> str | None:
        """Return the name of the callback that ended the training, and would end it again; None if none did.

        Args:
            states: The states of the callbacks at that time.
        """
        wanted = dict(_numbered(state["callback"] for state in states))
        for key, index in _numbered(name for name, _ in self._named()):
            callback, fields = self._callbacks[index], states[wanted[key]]["fields"] if key in wanted else {}
            if (
                isinstance(callback, keras.callbacks.EarlyStopping)
                and fields.get("stopped_epoch")
                and fields["wait"] >= callback.patience
            ):
                return key[0]
        return None

    def _named(self) -> Iterator[tuple[str, keras.callbacks.Callback]]:
        for callback in self._callbacks:
            # A drop-in continues from the state of the class that it stands in for, and the other way round.
            kind = next(one for one in type(callback).__mro__ if not one.__module__.startswith("ckpt_callbacks."))
            yield f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}", callback

    def _own(self, callback: keras.callbacks.Callback, keep: bool) -> Any:
        if not _has_protocol(callback) or id(callback) in self._faulty:
            return None
        try:
            return plain(callback.state_dict(), copy=keep)
        except Exception as error:  # an error in the user's code is no reason to lose a checkpoint
            self._warn(callback, "state_dict()", error)
            return None

    def _restore(self, callback: keras.callbacks.Callback, state: dict[str, Any]) -> None:
        for field, value in state["fields"].items():
            if field in _fields(callback):
                setattr(callback, field, _copied(value))
        if state["own"] is not None and _has_protocol(callback):
            try:
                callback.load_state_dict(plain(state["own"], copy=True))
            except Exception as error:
                self._warn(callback, "load_state_dict()", error)

    def _warn(self, callback: keras.callbacks.Callback, where: str, error: Exception) -> None:
        self._faulty.add(id(callback))
        log.warning(
            "%s.%s failed, so its state is not saved: %s: %s",
            type(callback).__name__, where, type(error).__name__, error,
        )  # fmt: skip


def without_averages(states: States) -> States:
    """Return the states for an optimizer that has no averages to swap back."""
    swaps = _FIELDS[keras.callbacks.SwapEMAWeights]
    return tuple(
        {**state, "fields": {field: value for field, value in state["fields"].items() if field not in swaps}}
        for state in states
    )


def _fields(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    return next((fields for kind, fields in _FIELDS.items() if isinstance(callback, kind)), ())


def _has_protocol(callback: keras.callbacks.Callback) -> bool:
    return all(callable(getattr(callback, name, None)) for name in ("state_dict", "load_state_dict"))


def _copied(value: Any) -> Any:
    # Lists and dicts grow in place; the arrays of the best weights are replaced as a whole.
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else value


def _numbered(names: Any) -> Iterator[tuple[tuple[str, int], int]]:
    """Yield ``((name, the number of equal names before it), index)`` for each name."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        number = seen[name] = seen.get(name, -1) + 1
        yield (name, number), index
