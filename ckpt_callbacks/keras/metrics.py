"""The metrics that Keras passes to its callbacks, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def floats(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the metrics as plain numbers, and leave out those that are not numbers."""
    found = {}
    for name, value in (logs or {}).items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            continue
    return found
