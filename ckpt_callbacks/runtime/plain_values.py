"""Values of any kind as plain JSON of a bounded size, for records."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence, Set
from itertools import islice
from typing import Any

SCALARS = frozenset({str, int, float, bool, type(None)})

_TEXT = 200  # characters of a value of an unknown type
_REST = 40  # characters that say how much was left out


def plain(value: Any, depth: int = 4, most: float = 100) -> Any:
    """Return ``value`` as plain JSON. A value that this function has returned stays as it is.

    Args:
        value: Any value. Unknown types become text.
        depth: The depth at which nesting ends.
        most: Number of items that a container may have. A text may have 10 times as many characters, and the whole 20
            times as many values. What is left out is counted.
    """
    return _Plain(most).of(value, depth)


class _Plain:
    def __init__(self, most: float) -> None:
        self._most, self._left, self._characters = most, 20 * most, 10 * most

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, str):
            return self._shortened(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if depth > 0 and isinstance(value, Mapping):
            number = self._shown(value)
            items = {str(key): self.of(item, depth - 1) for key, item in islice(value.items(), number)}
            return items if number == len(value) else {**items, "...": f"and {len(value) - number} more"}
        if depth > 0 and isinstance(value, Sequence | Set) and not isinstance(value, bytes | bytearray):
            shown = [self.of(item, depth - 1) for item in islice(value, self._shown(value))]
            return shown if len(shown) == len(value) else [*shown, f"... and {len(value) - len(shown)} more"]
        if hasattr(value, "item") and getattr(value, "size", None) == 1:
            return self.of(value.item(), 0)
        return str(value)[:_TEXT]

    def _shown(self, container: Any) -> int:
        """Return how many items of a container are shown. One place is for the number of the items that are not."""
        room = min(self._most, max(self._left, 1))
        return len(container) if len(container) <= room else int(room) - 1

    def _shortened(self, text: str) -> str:
        if len(text) <= self._characters:
            return text
        kept = int(self._characters) - _REST
        return f"{text[:kept]}... and {len(text) - kept} more characters"
