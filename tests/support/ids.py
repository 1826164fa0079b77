"""Parametrize ids that are short and the same in every process."""

from __future__ import annotations

import re

from ckpt_callbacks import Event

LONGEST = 60


def readable(value: object) -> str:
    """Return an id for ``value``; pytest-xdist requires that all workers collect the same ids."""
    if isinstance(value, Event):
        return f"{value.kind.value} {value.step}"
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(readable, value))
    text = re.sub(r" at 0x[0-9a-f]+", "", str(value))  # a function's address
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
