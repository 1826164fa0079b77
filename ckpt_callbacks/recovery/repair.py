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
        changes_only_records: Whether it changes nothing but the manifest, so that it can be rehearsed in a copy.
    """

    problem: str
    remedy: str
    apply: Callable[[], object]
    changes_only_records: bool = False

    def attempt(self) -> OSError | None:
        """Make the repair, and return the error that prevented it, so that one object does not hinder the others."""
        try:
            self.apply()
        except OSError as error:
            return error
        return None

    def describe(self, *, applied: bool, error: OSError | None = None) -> str:
        """Return the problem and its remedy in one line.

        Args:
            applied: Whether the repair was attempted.
            error: What prevented it.
        """
        if error is not None:
            return f"{self.problem}; could not be {self.remedy}: {error.strerror or error}; it will be tried again"
        return f"{self.problem}; {self.remedy}" if applied else f"{self.problem}; would be {self.remedy}"
