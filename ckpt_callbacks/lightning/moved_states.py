"""The states of callbacks in a checkpoint whose run directory has been moved or copied since.

Lightning finds the state of a callback by a key that contains its directory.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .compat import ModelCheckpointAttributes


def find_moved(states: dict[str, Any], callbacks: Sequence[Any]) -> None:
    """Give the states of this package's callbacks the keys by which the trainer looks for them, where they are clear.

    Args:
        states: The states in a checkpoint, by key. It is changed.
        callbacks: All callbacks of the trainer.
    """
    known = {callback.state_key for callback in callbacks}
    ours: list[Any] = [one for one in callbacks if isinstance(one, ModelCheckpointAttributes)]
    for is_own in (_has_same_name, _has_same_class):  # of several, each is moved with its name
        lost = [one for one in ours if one.state_key not in states]
        moves = {key: [one for one in lost if is_own(one, key)] for key in states.keys() - known}
        for key, owners in moves.items():
            if len(owners) == 1 and sum(owners == others for others in moves.values()) == 1:
                states[owners[0].state_key] = states.pop(key)


def _has_same_class(callback: Any, key: Any) -> bool:
    return isinstance(key, str) and key.startswith(f"{type(callback).__qualname__}{{")


def _has_same_name(callback: Any, key: Any) -> bool:
    """Return whether the directories of a callback and a key have the same name, in perhaps different folders."""
    if not _has_same_class(callback, key):
        return False
    try:
        dirpath = ast.literal_eval(key[key.index("{") :])["dirpath"]
        return Path(dirpath).name == Path(callback.dirpath).name
    except (ValueError, SyntaxError, KeyError, TypeError):  # before `fit`, a callback may have no directory
        return False
