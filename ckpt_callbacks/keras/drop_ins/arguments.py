"""Arguments that Keras 3 refuses, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

from ...policy.argument_names import taken_by
from ...policy.text_for_number import number_in
from ..callback import KerasCheckpoint

_PERIOD = "save_freq='epoch', or, to save every n epochs, KerasCheckpoint with Every(epochs=n)"
_PREEMPTION = "KerasCheckpoint with OnPreempt() in the save of a policy"

_OWN = taken_by(KerasCheckpoint)
_STOPPING = {name: f"EarlyStopping(..., {name}=...)" for name in ("patience", "restore_best_weights")}

# By name: arguments of `KerasCheckpoint`, and of earlier versions of Keras.
MODEL_CHECKPOINT = {
    **_OWN,
    **_STOPPING,
    "period": _PERIOD,
    "options": "nothing: files are always written locally",
    "save_format": "a filepath that ends with .keras",
}
BACKUP = {**_OWN, **_STOPPING, "save_before_preemption": _PREEMPTION}
EARLY_STOPPING = _OWN


@contextmanager
def explained(filepath: str | PathLike[str], save_weights_only: bool, save_freq: Any) -> Iterator[None]:
    """Add to Keras' refusal of an argument what to write instead.

    Args:
        filepath: The argument.
        save_weights_only: The argument.
        save_freq: The argument.
    """
    try:
        yield
    except ValueError as error:
        instead = _instead(str(filepath), save_weights_only, save_freq)
        raise ValueError(f"{error}; instead, write {instead}") from None


def _instead(filepath: str, save_weights_only: bool, save_freq: Any) -> str:
    if save_freq != "epoch" and not isinstance(save_freq, int):
        meant: Any = number_in(save_freq) if isinstance(save_freq, str) else save_freq
        return f"save_freq={int(meant)}" if _is_whole(meant) else "save_freq='epoch' or a whole number"
    path = re.sub(r"(\.weights)?(\.hdf5|\.h5|\.keras|\.tf|\.pth?|\.ckpt)?$", "", filepath)
    return f"filepath={path + ('.weights.h5' if save_weights_only else '.keras')!r}"


def _is_whole(value: Any) -> bool:
    try:
        return bool(value == int(value) > 0)
    except (TypeError, ValueError):
        return False
