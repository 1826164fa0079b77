"""The metrics that Keras passes to its callbacks, as plain numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np


def floats(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the metrics as plain numbers, and leave out those that are not numbers."""
    found = {}
    for name, value in (logs or {}).items():
        with contextlib.suppress(TypeError, ValueError):
            found[name] = float(value)
    return found


def several_numbers(logs: Mapping[str, Any], found: Mapping[str, float], monitored: Collection[str]) -> str:
    """Return the error about a metric that consists of several numbers, in one line; empty if there is none.

    Args:
        logs: The metrics.
        found: Those that are plain numbers.
        monitored: The names of the metrics that the policy reads.
    """
    for name in logs.keys() - found.keys() & set(monitored):
        value = logs[name]
        if isinstance(value, list | tuple) or hasattr(value, "shape"):
            return (
                f"the metric {name!r} consists of {np.size(value)} numbers; expected one number, such as that of "
                "F1Score(average='macro'), or another metric in the policy"
            )
    return ""
