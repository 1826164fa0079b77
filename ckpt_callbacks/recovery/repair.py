"""Something that is wrong in a run directory, and how it is put right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Repair:
    """One repair, which somebody may carry out or only look at.

    Attributes:
        what: One line: what is wrong, and what is done about it. carry_out: does it.
    """

    what: str
    carry_out: Callable[[], object]
