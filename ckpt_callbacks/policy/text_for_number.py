"""Arguments for which a number is expected, and that are text, as ``5e-5`` is in YAML."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping


def refuse_text(name: str, given: Mapping[str, object]) -> None:
    """Raise `TypeError` at the first argument that is text. The frameworks take it, and fail on it in mid-training.

    Args:
        name: Of the callback in the message.
        given: The values of its arguments that are numbers, by name.
    """
    for argument, value in given.items():
        if isinstance(value, str) and value:
            meant = number_in(value)
            instead = "" if meant is None else f"; instead, write {argument}={meant}"
            raise TypeError(f"{name}: {argument} is {value!r}, which is text; expected a number{instead}")


def number_in(text: str) -> int | float | None:
    """Return the number that a text holds, or None."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return None
