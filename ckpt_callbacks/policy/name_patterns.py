"""Patterns for the names of weights, such as ``backbone`` or ``*.running_mean``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

SEPARATORS = "./"  # between the parts of a name: torch's, and that of Keras files


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern means the weight of this name, or a part of the model that the weight belongs to.

    A ``*`` stands for any text. So ``backbone`` and ``back*`` both mean ``backbone.0.weight``.
    """
    return _compiled(pattern).fullmatch(name) is not None


def covered(pattern: str, by: Iterable[str]) -> bool:
    """Return whether all that a pattern means is also meant by one of the others."""
    # Only the star of another pattern matches the star of this one, so whatever text stands for it matches as well.
    return any(matches(other, pattern) for other in by)


def common(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Return patterns for names that each of the groups means. They may mean fewer names, but never more."""
    sets = [tuple(group) for group in groups]
    found = dict.fromkeys(pattern for group in sets for pattern in group if all(covered(pattern, s) for s in sets))
    return without_covered(found)


def without_covered(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns without those that others cover."""
    left: list[str] = []
    for pattern in dict.fromkeys(patterns):
        if not covered(pattern, left):
            left = [other for other in left if not matches(pattern, other)] + [pattern]
    return tuple(left)


@functools.lru_cache(maxsize=1000)
def _compiled(pattern: str) -> re.Pattern[str]:
    text = ".*".join(map(re.escape, pattern.split("*")))
    return re.compile(f"{text}(?:[{re.escape(SEPARATORS)}].*)?", re.DOTALL)
