"""The hyperparameters of a training run, as its checkpoints and records hold them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from ..runtime.plain_values import SCALARS, plain

_KEYS = ("hyper_parameters", "datamodule_hyper_parameters")
_DEPTH = 2  # of each value in a record
_CONTAINERS = (dict, OrderedDict, list, tuple)
_FEW = 1000  # parts of a value that are searched again at each save


class Hyperparameters:
    """Converts and describes hyperparameters at each save, and searches each large value only once.

    Hyperparameters may be large, such as a vocabulary, and seldom change within a fit. Only the result of the search is
    remembered, as long as a large value is the same object of the same length. A value of a few parts is searched
    again, because a script may have changed one of them in place. A checkpoint always holds the values themselves.
    """

    def __init__(self) -> None:
        self._loadable: dict[tuple[str, str], tuple[Any, int]] = {}
        self._described: dict[str, tuple[Any, int, Any]] = {}

    def convert(self, checkpoint: dict[str, Any]) -> None:
        """Convert paths to text, because ``torch.load(weights_only=True)`` cannot read them."""
        memo: dict[int, tuple[Any, Any]] = {}  # one for all of them, so that what they share stays shared
        found = {key: checkpoint[key] for key in _KEYS if isinstance(checkpoint.get(key), dict)}
        if not all([self._is_known(key, name, value) for key in found for name, value in found[key].items()]):
            checkpoint.update({key: _converted(value, memo) for key, value in found.items()})

    def describe(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return hyperparameters as plain JSON values of bounded size, for a record."""
        described = {}
        for name, value in hyperparameters.items():
            known = self._described.get(name)
            if known is None or not _is_same(value, *known[:2]):
                known = self._described[name] = (value, _length(value), plain(value, _DEPTH))
            described[name] = known[2]
        return described

    def _is_known(self, key: str, name: str, value: Any) -> bool:
        """Return whether nothing in a value has to be converted."""
        if type(value) in SCALARS:
            return True
        known = self._loadable.get((key, name))
        if known is not None and _is_same(value, *known):
            return True
        if not _is_loadable(value):
            return False
        self._loadable[key, name] = (value, _length(value))
        return True


def _is_same(value: Any, known: Any, length: int) -> bool:
    """Return whether a value is the large one of this length that was searched before."""
    return known is value and length == _length(value) and not _has_few_parts(value)


def _has_few_parts(value: Any) -> bool:
    """Return whether a value consists of at most `_FEW` plain values, in containers."""
    waiting, seen, count = [value], set(), 0
    for item in waiting:  # which grows
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict | list | tuple):
            count += len(item)
            if count > _FEW:
                return False
            parts = item.values() if isinstance(item, dict) else item
            waiting += [part for part in parts if type(part) not in SCALARS]
        elif not isinstance(item, os.PathLike):
            return type(item) in SCALARS
    return True


def _is_loadable(value: Any) -> bool:
    """Return whether a value holds nothing to convert. Not recursive: its parts may be nested deeply, or in a cycle."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, os.PathLike) or _is_lightnings(item):
            return False
        if type(item) in _CONTAINERS:
            parts = item.values() if isinstance(item, dict) else item
            waiting += [part for part in parts if type(part) not in SCALARS]
    return True


def _converted(value: Any, memo: dict[int, tuple[Any, Any]]) -> Any:
    """Return a value with its paths converted. Its cycles and shared parts are kept."""
    if type(value) in SCALARS:
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value) not in _CONTAINERS and not _is_lightnings(value):
        return value
    if id(value) in memo:
        return memo[id(value)][1]
    try:
        return _converted_container(value, memo)
    except RecursionError:  # nested too deeply to be converted; pickle may still succeed
        return value


def _converted_container(value: Any, memo: dict[int, tuple[Any, Any]]) -> Any:
    made: Any
    if isinstance(value, Mapping):
        made = OrderedDict() if type(value) is OrderedDict else {}
        memo[id(value)] = value, made  # with the value, because another object may get its id later
        made.update((key, _converted(item, memo)) for key, item in value.items())
        return made
    if type(value) is list:
        made = []
        memo[id(value)] = value, made
        made.extend(_converted(item, memo) for item in value)
        return made
    made = tuple([_converted(item, memo) for item in value])
    # If a cycle leads back to the tuple, the tuple has already been made.
    return memo.setdefault(id(value), (value, made))[1]


def _is_lightnings(value: Any) -> bool:
    return isinstance(value, Mapping) and type(value).__module__.startswith("lightning")


def _length(value: Any) -> int:
    return len(value) if type(value) in _CONTAINERS else 0
