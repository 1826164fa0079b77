"""A repair: one problem in a run directory, and its remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Repair:
    """One repair, which may be applied or only reported.

    Attributes:
        problem: What is wrong, and where.
        remedy: A participle that says what is done about it, such as ``"removed"``.
        apply: Does it.
    """

    problem: str
    remedy: str
    apply: Callable[[], object]

    def describe(self, *, applied: bool) -> str:
        """Return the problem and its remedy in one line."""
        return f"{self.problem}; {self.remedy}" if applied else f"{self.problem}; would be {self.remedy}"
