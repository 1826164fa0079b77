"""The contents that a retention rule needs of the checkpoints that it keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import PolicyError
from ..record import Record
from .argument_names import suggests_fields

KINDS = ("full", "weights")  # from the largest to the smallest


@suggests_fields
@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds.

    Args:
        kind: ``"full"`` for all that a run needs to continue, or ``"weights"`` for the weights alone.
    """

    kind: str = "full"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PolicyError(f"Contents: kind is {self.kind!r}; expected one of {', '.join(KINDS)}")

    def __str__(self) -> str:
        return self.kind

    def holds(self, other: Contents) -> bool:
        """Return whether a checkpoint with these contents holds all that one with the others does."""
        return KINDS.index(self.kind) <= KINDS.index(other.kind)


FULL, WEIGHTS = Contents("full"), Contents("weights")


def held(record: Record) -> Contents:
    """Return what the file of a record holds."""
    return Contents(record.contents)


def joined(needs: Iterable[Contents]) -> Contents:
    """Return the smallest contents that hold all of these, of which there is at least one."""
    return min(needs, key=lambda contents: KINDS.index(contents.kind))


def as_contents(where: str, value: object) -> Contents:
    """Return the contents that a user gave: a `Contents`, or its kind.

    Args:
        where: The place in the message, such as ``"KeepBest"``.
        value: What was given.

    Raises:
        PolicyError: It is neither.
    """
    if isinstance(value, Contents):
        return value
    if isinstance(value, str) and value in KINDS:
        return Contents(value)
    raise PolicyError(
        f"{where}: contents is {value!r}; expected one of {', '.join(KINDS)}, or a Contents, such as "
        "Contents(kind='weights')"
    )
