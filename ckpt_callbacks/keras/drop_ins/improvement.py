"""Improvements of a metric, which Keras decides on, except for NaN."""

from __future__ import annotations

import math
from typing import Any

import keras

from ...runtime.bare_log import announce

_SAID: set[tuple[str, str, bool]] = set()


def is_nan(value: Any) -> bool:
    """Return whether a logged value is NaN; False for a value that is no single number."""
    try:
        return math.isnan(float(value))
    except (TypeError, ValueError):
        return False


def say_direction(callback: Any) -> None:
    """Log once in which direction Keras ranks the metric of a callback with ``mode="auto"``.

    Args:
        callback: The callback, after Keras has decided.
    """
    if callback.mode in ("min", "max"):
        return
    name, rises = type(callback).__name__, callback.monitor_op is keras.ops.greater
    if (name, callback.monitor, rises) in _SAID:
        return
    _SAID.add((name, callback.monitor, rises))
    announce(
        "%s: mode='auto' takes the %s %s for the best; to choose, pass mode='min' or mode='max'",
        name, "highest" if rises else "lowest", callback.monitor,
    )  # fmt: skip
