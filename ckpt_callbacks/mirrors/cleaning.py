"""The deletion of what takes room in a mirror, and nothing needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..remote.object_store import ObjectFacts, ObjectStore
from .check import Fault, Finding
from .keys import CLOCK, checkpoint_of, entry_key
from .reading import read_catalog
from .survey import Survey, names, survey


def store_time(store: ObjectStore, here: float) -> float:
    """Return the time of a store's own clock, with which the dates of its objects agree.

    Args:
        store: The store, which must accept a small object.
        here: The time of this machine, for a store that tells no dates.
    """
    written = store.put(CLOCK, b"")
    found = written if written.modified else store.stat(CLOCK)
    return found.modified if found is not None and found.modified else here


def old(findings: Iterable[Finding], found: Survey, before: float, noted: Collection[str] = ()) -> list[Finding]:
    """Return the findings that may be deleted.

    What counts is in no finding. What another entry names stays as long as that entry is too young to go. The objects
    of one checkpoint go together: as long as one of them is young, or its upload goes on, all stay. If an entry cannot
    be read, it is not known what it names, and no object with bytes of a checkpoint goes.

    Args:
        findings: What is wrong, as `litter` yields it.
        found: What the mirror holds.
        before: Until when something that may go was written, by the clock of the store; infinite for any time.
        noted: The keys of uploads that a later process can continue.
    """
    litter = [(one, one.litter) for one in findings if one.litter is not None and one.kind.is_litter]
    is_old = {one: before == float("inf") or 0 < facts.modified <= before for one, facts in litter}
    gone_entries = {one.key for one, facts in litter if one.kind is Fault.IDLE and is_old[one]}
    stay = {
        part.key for number, entry in found.idle.items() if entry_key(number) not in gone_entries
        for part in entry.parts
    }  # fmt: skip
    young = {checkpoint_of(facts.key) for one, facts in litter if one.kind is not Fault.IDLE and not is_old[one]}
    young |= {checkpoint_of(key) for key in noted}

    def may(one: Finding, facts: ObjectFacts) -> bool:
        if not is_old[one]:
            return False
        if one.kind is Fault.IDLE:
            return True
        checkpoint = checkpoint_of(facts.key)
        if checkpoint is None:  # an entry that was not written to its end
            return one.kind is Fault.UNFINISHED
        if checkpoint in young:
            return False
        return one.kind is Fault.UNFINISHED or (facts.key not in stay and not found.unreadable)

    return [one for one, facts in litter if may(one, facts)]


def clean(store: ObjectStore, found: Survey, findings: Iterable[Finding]) -> tuple[list[Finding], list[str]]:
    """Delete what may go, unless it counts by now.

    Args:
        store: The store.
        found: What it held when the findings were made.
        findings: As `old` returns them.

    Returns:
        What was deleted; and the keys among them that a writer has named in the very same moment.
    """
    doomed = list(findings)
    if not doomed:
        return [], []
    named = _named(store, found)
    gone = [one for one in doomed if one.kind is Fault.UNFINISHED or one.key not in named]
    store.delete([one.litter for one in gone if one.litter is not None])
    keys = {one.key for one in gone if one.kind is not Fault.UNFINISHED}
    return gone, sorted(keys & _named(store, found))


def _named(store: ObjectStore, found: Survey) -> set[str]:
    """Return what counts now, in as few requests as possible."""
    if found.unreadable:
        return survey(store).named
    catalog, _ = read_catalog(store)
    return names(catalog.entries) if catalog is not None else set()
