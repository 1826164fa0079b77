"""State of the other callbacks of a `fit`, which forget it when the next one begins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from .arrays import pack, unpack

log = logging.getLogger("ckpt_callbacks")

_FIELDS = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "best_weights", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.History: ("epoch", "history"),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),  # else it would not swap them back
}

States = tuple[dict[str, Any], ...]


class Siblings:
    """The callbacks beside ours that have a state to keep.

    Those are Keras' `EarlyStopping`, `ReduceLROnPlateau`, `History` and `SwapEMAWeights`, their subclasses, and every
    callback that has ``state_dict()`` and ``load_state_dict(state)``, whose state is made of JSON values and arrays.

    Args:
        callbacks: All callbacks of the `fit`, ours left out.
        settle: Has the hooks return that Keras has called on another thread.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback] = (), settle: Callable[[], None] = lambda: None
    ) -> None:
        self._settle = settle
        self._callbacks = [callback for callback in callbacks if _fields(callback) or _speaks(callback)]
        self._faulty: set[int] = set()

    def states(self) -> States:
        """Their states now; what they do afterwards changes nothing in it."""
        self._settle()
        found = []
        for name, callback in self._named():
            fields = {field: _copied(getattr(callback, field, None)) for field in _fields(callback)}
            found.append({"callback": name, "fields": fields, "own": self._own(callback)})
        return tuple(found)

    def restore(self, states: States) -> list[str]:
        """Give them back what `states` returned, matched by class and order. Returns names that found no match."""
        self._settle()
        wanted = dict(_numbered(state["callback"] for state in states))
        found = dict(_numbered(name for name, _ in self._named()))
        for key in wanted.keys() & found.keys():
            self._restore(self._callbacks[found[key]], states[wanted[key]])
        return sorted(name for name, _ in wanted.keys() ^ found.keys())

    def stopped(self, states: States) -> str | None:
        """Which of them had ended the training when these states were taken, and would again."""
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
            kind = type(callback)
            yield f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}", callback

    def _own(self, callback: keras.callbacks.Callback) -> Any:
        if not _speaks(callback) or id(callback) in self._faulty:
            return None
        try:
            return pack(callback.state_dict())
        except Exception as error:  # somebody else's code: no reason to lose a checkpoint
            self._complain(callback, "state_dict()", error)
            return None

    def _restore(self, callback: keras.callbacks.Callback, state: dict[str, Any]) -> None:
        for field, value in state["fields"].items():
            if field in _fields(callback):
                setattr(callback, field, _copied(value))
        if state["own"] is not None and _speaks(callback):
            try:
                callback.load_state_dict(unpack(state["own"]))
            except Exception as error:
                self._complain(callback, "load_state_dict()", error)

    def _complain(self, callback: keras.callbacks.Callback, where: str, error: Exception) -> None:
        self._faulty.add(id(callback))
        log.warning(
            "%s.%s failed, so its state is not kept: %s: %s",
            type(callback).__name__, where, type(error).__name__, error,
        )  # fmt: skip


def _fields(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    return next((fields for kind, fields in _FIELDS.items() if isinstance(callback, kind)), ())


def _speaks(callback: keras.callbacks.Callback) -> bool:
    return all(callable(getattr(callback, name, None)) for name in ("state_dict", "load_state_dict"))


def _copied(value: Any) -> Any:
    # Lists and dicts grow in place; the arrays of the best weights are replaced as a whole.
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else value


def _numbered(names: Any) -> Iterator[tuple[tuple[str, int], int]]:
    """``((name, how many of that name came before), index)`` of each."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        number = seen[name] = seen.get(name, -1) + 1
        yield (name, number), index
