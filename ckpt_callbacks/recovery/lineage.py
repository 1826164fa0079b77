"""The records that a run descends from, across resumes."""

from __future__ import annotations

from collections.abc import Sequence

from ..record import Attempt, Record
from ..store.manifest import Manifest


def supersede(manifest: Manifest, run: str, attempt: int) -> None:
    """Mark the records that an attempt rolled back. Call it once the attempt has its first checkpoint."""
    for record in wrongly_marked(manifest, run, attempt):
        manifest.change(record.id, superseded=not record.superseded)


def wrongly_marked(manifest: Manifest, run: str, attempt: int) -> list[Record]:
    """Return the records whose `superseded` flag is wrong for the given attempt."""
    # Including deleted records, because retention may have removed a record of the line since.
    line = ancestors(list(manifest.records.values()), manifest.attempts, run, attempt)
    return [record for record in manifest.live() if record.superseded != (record.id not in line)]


def ancestors(records: Sequence[Record], attempts: Sequence[Attempt], run: str, attempt: int) -> set[int]:
    """Return the ids of the records on the line that leads to an attempt, including the attempt's own records.

    An attempt that resumed from an older record leaves all later ones on a dead branch.
    """
    parents = {(a.run, a.number): a.parent for a in attempts}
    by_id = {record.id: record for record in records}
    line: set[int] = set()
    upto: float = float("inf")
    here: tuple[str, int] | None = (run, attempt)
    visited: set[tuple[str, int]] = set()
    while here is not None and here not in visited:
        visited.add(here)
        line |= {r.id for r in records if (r.run, r.attempt) == here and r.id <= upto}
        parent = by_id.get(parents.get(here) or -1)
        here = (parent.run, parent.attempt) if parent else None
        upto = parent.id if parent else upto
    return line
