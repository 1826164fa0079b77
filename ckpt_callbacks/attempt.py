"""One start of a training, as the manifest has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Attempt:
    """When and where it began, and from what.

    Attributes:
        run: Identifies the run; kept over resumes. number: 1 for the first start of the run, then counting up.
        parent: Id of the record that this start continued from; None for a fresh one.
        wall: UTC seconds since 1970. facts: host, process, framework versions and the like.
    """

    run: str
    number: int
    parent: int | None
    wall: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Attempt:
        """The attempt that was written; facts from a newer version that are unknown here are dropped."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in facts.items() if name in known})
