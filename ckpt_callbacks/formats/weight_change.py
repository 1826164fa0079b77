"""The change of the weights from one checkpoint to another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .inside import WeightOnDisk


@dataclass(frozen=True)
class Change:
    """The change of one entry.

    Attributes:
        name: The entry's name.
        before: The entry in the first file; None if it has been added.
        after: The entry in the second file; None if it was removed.
        norm: The L2 norm of its first values; NaN if the values cannot be compared, because there are no two, or their
            shapes differ.
        moved: The L2 norm of the difference; infinite if a value is infinite or NaN in just one of the files. NaN as
            above.
        largest: The largest absolute difference of two values.
    """

    name: str
    before: WeightOnDisk | None
    after: WeightOnDisk | None
    norm: float = math.nan
    moved: float = math.nan
    largest: float = math.nan

    @property
    def entry(self) -> WeightOnDisk:
        """Return the second entry, or the first one if it was removed."""
        found = self.after or self.before
        assert found is not None
        return found

    @property
    def kind(self) -> str:
        """Return ``added``, ``removed``, ``reshaped``, ``changed`` or ``unchanged``."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        if self.before.shape != self.after.shape:
            return "reshaped"
        return "changed" if self.largest else "unchanged"

    @property
    def relative(self) -> float:
        """Return the norm of the difference in relation to that of the first values."""
        return relative(self.moved, self.norm)


def relative(moved: float, norm: float) -> float:
    """Return one norm in relation to another: infinite if only the latter is zero, and zero if both are."""
    if math.isnan(moved) or math.isinf(moved):
        return moved
    return moved / norm if norm else math.copysign(math.inf, moved) if moved else 0.0


def changes(before: Mapping[str, WeightOnDisk], after: Mapping[str, WeightOnDisk]) -> Iterator[Change]:
    """Yield the change of each entry of two files, in the order of the first one; added entries come last.

    Args:
        before: The entries of the first file by their names.
        after: The entries of the second file by their names.
    """
    for name, entry in before.items():
        other = after.get(name)
        if other is None or other.shape != entry.shape:
            yield Change(name, entry, other)
        else:
            yield Change(name, entry, other, *_compared(entry, other))
    for name, entry in after.items():
        if name not in before:
            yield Change(name, None, entry)


def _compared(before: WeightOnDisk, after: WeightOnDisk) -> tuple[float, float, float]:
    norm = moved = largest = 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for first, second in zip(before.pieces(), after.pieces(), strict=True):
            same = (first == second) | (np.isnan(first) & np.isnan(second))
            difference = np.where(same, 0.0, np.abs(second - first))
            difference[np.isnan(difference)] = math.inf
            norm += float(np.sum(np.square(np.abs(first[np.isfinite(first)]))))
            moved += float(np.sum(np.square(difference)))
            largest = max(largest, float(np.max(difference, initial=0.0)))
    return math.sqrt(norm), math.sqrt(moved), largest


def total(changes: Sequence[Change]) -> tuple[float, float]:
    """Return the relative change of all entries that can be compared together, and the largest difference."""
    compared = [change for change in changes if not math.isnan(change.moved)]
    if not compared:
        return math.nan, math.nan
    moved, norm = (math.hypot(*values) for values in zip(*((c.moved, c.norm) for c in compared), strict=True))
    return relative(moved, norm), max(change.largest for change in compared)
