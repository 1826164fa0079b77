"""The records that a run descends from, across resumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..record import Attempt, Record

CONTINUES = "continues"  # the fact of an attempt that names the run and the attempt of its parent


def origin(parent: Record | None) -> Mapping[str, Any]:
    """Return what an attempt records about the record from which it continues, which another machine may never see.

    A mirror deletes records from which nobody continues any more, so a machine that resumes from it knows the ids of
    earlier parents, and nothing else of them.
    """
    return {} if parent is None else {CONTINUES: [parent.run, parent.attempt]}


def ancestors(records: Sequence[Record], attempts: Sequence[Attempt], run: str, attempt: int) -> set[int]:
    """Return the ids of the records on the line that leads to an attempt, including the attempt's own records.

    An attempt that resumed from an older record leaves all later ones on a dead branch.
    """
    started = {(a.run, a.number): a for a in attempts}
    by_id = {record.id: record for record in records}
    line: set[int] = set()
    upto: float = float("inf")
    here: tuple[str, int] | None = (run, attempt)
    visited: set[tuple[str, int]] = set()
    while here is not None and here not in visited:
        visited.add(here)
        line |= {r.id for r in records if (r.run, r.attempt) == here and r.id <= upto}
        own = started.get(here)
        if own is None or own.parent is None:
            break
        here, upto = _place(own, by_id.get(own.parent)), own.parent
    return line


def _place(attempt: Attempt, parent: Record | None) -> tuple[str, int] | None:
    """Return the run and the attempt of an attempt's parent; None if they are not known."""
    if parent is not None:
        return parent.run, parent.attempt
    known = attempt.facts.get(CONTINUES)
    return (known[0], known[1]) if isinstance(known, list | tuple) and len(known) == 2 else None
