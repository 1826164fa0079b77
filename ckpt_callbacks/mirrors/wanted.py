"""The checkpoints that a mirror should hold: pure functions over records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..policy.contents import FULL, Contents
from ..policy.contents_order import held, holds_more, reachable
from ..policy.lineage import ancestors
from ..policy.metric import Metric
from ..policy.plan import plan
from ..policy.retention import Retention
from ..record import Record, Status
from .catalog import Catalog, Entry

_SENT = (Status.VERIFIED, Status.THINNED)
_WRITTEN = (*_SENT, Status.DELETED)
_CHANGING = ("metrics", "scores", "final", "superseded", "exceptional", "tags", "pinned", "reasons", "finite")


@dataclass(frozen=True)
class Wishes:
    """What a mirror is to hold.

    Attributes:
        keep: Which checkpoints stay there.
        best: The metric that decides which one is the best.
        contents: What is needed of all of them; None for what the rules say.
    """

    keep: Retention
    best: Metric | None = None
    contents: Contents | None = None


def to_send(
    wishes: Wishes, catalog: Catalog, local: Iterable[Record], now: Sequence[Record]
) -> list[tuple[Record, Contents]]:
    """Return the checkpoints that a mirror lacks, and what is needed of each, newest first.

    A checkpoint that the mirror would delete again as soon as the newer ones are there is left out.

    Args:
        wishes: What the mirror is to hold.
        catalog: What it holds.
        local: The verified checkpoints of the run directory.
        now: The records of the mirror; see `records_now`.
    """
    there = {record.id for record in catalog.records}
    lacking = {record.id: record for record in local if record.id not in there and record.status in _SENT}
    runs = {record.run for record in lacking.values()}
    there_too = [record for record in now if record.run in runs]
    # Of weights alone no run resumes, so none of them is kept for that.
    sent = [
        record.replace(resumable=False) if wishes.contents and reduced(record, wishes.contents) else record
        for record in lacking.values()
    ]
    kept = plan(wishes.keep, [*there_too, *sent], best=wishes.best)
    wanted = [lacking[record.id] for record in reversed(kept.keep) if record.id in lacking]
    return [(record, wishes.contents or kept.needs.get(record.id, FULL)) for record in wanted]


def to_remove(wishes: Wishes, catalog: Catalog, now: Sequence[Record]) -> list[Entry]:
    """Return the entries of a mirror that may go.

    What a rule keeps stays, and what has a tag or a pin, or what a run has continued from. As in the run directory, the
    rules apply to each run, and the checkpoints of earlier runs stay.

    Args:
        wishes: What the mirror is to hold.
        catalog: What it holds.
        now: The records of the mirror; see `records_now`.
    """
    run = catalog.attempts[-1].run if catalog.attempts else None
    kept = plan(wishes.keep, [record for record in now if run in (None, record.run)], best=wishes.best)
    newest = catalog.attempts[-1].parent if catalog.attempts else None
    stays = {record.id for record in kept.keep}
    stays |= {r.id for r in now if r.tags or r.pinned or run not in (None, r.run)}
    if newest is not None:
        stays.add(newest)
    last = {record.id: number for number, record in ((entry.number, entry.record) for entry in catalog.entries)}
    return [entry for entry in catalog.entries if entry.record.id not in stays or last[entry.record.id] != entry.number]


def to_amend(catalog: Catalog, now: Sequence[Record]) -> list[Entry]:
    """Return the entries whose facts have changed since they were written, as they should be now.

    Args:
        catalog: What the mirror holds.
        now: The records of the mirror; see `records_now`.
    """
    facts = {record.id: record for record in now}
    changed = [entry for entry in catalog.entries if facts[entry.record.id] != entry.record]
    return [replace(entry, record=facts[entry.record.id]) for entry in changed]


def reduced(record: Record, needed: Contents) -> Contents | None:
    """Return the contents to which a checkpoint is to be reduced before it is sent; None to send it as it is."""
    return reachable(held(record), needed) if holds_more(record, needed) else None


def newest_first(catalog: Catalog) -> list[Entry]:
    """Return the entries from which a run can be resumed, newest first."""
    usable = [
        entry for entry in catalog.entries
        if entry.record.resumable and entry.record.status in _SENT and not entry.record.superseded
    ]  # fmt: skip
    return sorted(usable, key=lambda entry: (entry.record.id, entry.number), reverse=True)


def records_now(catalog: Catalog, known: Iterable[Record]) -> list[Record]:
    """Return the records of a mirror with what the run directory knows about them now.

    Args:
        catalog: What the mirror holds.
        known: All records of the directory's journal. A checkpoint may have been tagged or pinned since it was sent,
            and then deleted there.
    """
    own = {record.id: record for record in known if record.status in _WRITTEN}
    found = [_updated(record, own.get(record.id)) for record in catalog.records]
    if not catalog.attempts:
        return found
    newest = catalog.attempts[-1]
    if not any((r.run, r.attempt) == (newest.run, newest.number) for r in (*found, *own.values())):
        return found  # until it has a checkpoint, nothing is rolled back
    line = ancestors([*found, *own.values()], catalog.attempts, newest.run, newest.number)
    return [record.replace(superseded=record.id not in line) for record in found]


def _updated(record: Record, now: Record | None) -> Record:
    if now is None or now.run != record.run:
        return record
    return record.replace(**{name: getattr(now, name) for name in _CHANGING})
