"""The weights that a rule has left out of a checkpoint that is exported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import listed
from ..formats.reduction import FROZEN
from ..policy.name_patterns import matches

log = logging.getLogger("ckpt_callbacks")


def reduced_in(own: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `Record.reduced` as a file holds it.

    Args:
        own: This package's data in the file; None if there are none.
    """
    return ((own or {}).get("record") or {}).get("reduced") or {}


@dataclass(frozen=True)
class LeftOut:
    """What a file lacks. It is false if it lacks nothing.

    Attributes:
        patterns: What ``drop`` has left out.
        frozen: The names of the parameters that ``weights="trainable"`` has left out.
    """

    patterns: tuple[str, ...]
    frozen: frozenset[str]

    @classmethod
    def of(cls, own: Mapping[str, Any] | None) -> LeftOut:
        """Return what a file lacks, with its data as for `reduced_in`."""
        reduced = reduced_in(own)
        frozen = (own or {}).get(FROZEN) or () if reduced.get("weights") == "trainable" else ()
        return cls(tuple(reduced.get("drop", ())), frozenset(frozen))

    def __bool__(self) -> bool:
        return bool(self.patterns or self.frozen)

    def __str__(self) -> str:
        return listed([*(("the frozen parameters",) if self.frozen else ()), *self.patterns])

    def has(self, name: str) -> bool:
        """Return whether the weight of this name was left out."""
        return name in self.frozen or any(matches(pattern, name) for pattern in self.patterns)

    def warn(self, path: Path) -> None:
        """Say that the model's own weights stand in for those that a checkpoint lacks."""
        log.warning(
            "%s: lacks %s, which a rule has left out; the export holds what the model itself has there", path, self
        )
