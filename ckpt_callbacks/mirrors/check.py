"""The faults of a mirror, found without downloading it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from ..errors import VerifyError
from ..remote.object_store import ObjectFacts, ObjectStore
from ..remote.parallel import in_parallel
from .catalog import Entry, Part
from .keys import CATALOG, checkpoint_of, entry_key, number_of
from .reading import read_catalog
from .survey import Survey, names

_THREADS = 8


class Fault(str, Enum):
    """What can be wrong with a mirror."""

    MISSING = "missing"
    SIZE = "wrong size"
    CHECKSUM = "wrong checksum"
    DIGEST = "wrong digest"
    UNREADABLE = "unreadable"
    IDLE = "does not count"
    ORPHAN = "orphan"
    UNFINISHED = "unfinished"

    @property
    def is_litter(self) -> bool:
        """Whether it only takes room."""
        return self in (Fault.IDLE, Fault.ORPHAN, Fault.UNFINISHED)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: Its kind.
        key: The key of the object.
        problem: The rest of the line about it.
        litter: The object or the upload, if it only takes room.
    """

    kind: Fault
    key: str
    problem: str
    litter: ObjectFacts | None = None


@dataclass
class Compared:
    """How many objects were compared in which way.

    Attributes:
        by_checksum: Those whose checksum the store knows.
        by_size: All others.
        by_digest: Checkpoints that were read.
    """

    by_checksum: int = 0
    by_size: int = 0
    by_digest: int = 0


def compare(store: ObjectStore, found: Survey, compared: Compared) -> Iterator[Finding]:
    """Yield what is wrong with the objects that count.

    Args:
        store: The store.
        found: What it holds.
        compared: Receives what was compared.
    """
    if found.is_lost:
        yield Finding(Fault.MISSING, CATALOG, "the entries count, and the next start writes it again")
    parts = [(entry, part) for entry in found.catalog.entries for part in entry.parts]

    def look(number: int) -> tuple[Finding | None, str]:
        return _compared(store, *parts[number], found)

    for problem, by in in_parallel(look, range(len(parts)), _THREADS):
        compared.by_checksum += by == "checksum"
        compared.by_size += by == "size"
        if problem is not None:
            yield problem
    for entry in found.catalog.entries:
        if entry.number not in found.entries and store.stat(entry_key(entry.number)) is None:
            lost = f"the entry of {entry.record.file}, which only the catalog names"
            yield Finding(Fault.MISSING, entry_key(entry.number), lost)


def _compared(store: ObjectStore, entry: Entry, part: Part, found: Survey) -> tuple[Finding | None, str]:
    """Return what is wrong with an object, and what of it was compared."""
    facts = found.data.get(part.key)
    if facts is None or (part.checksum and not facts.checksum):  # a list says less, and may be a moment old
        facts = store.stat(part.key)
    kind, by = fault_of(part, facts)
    if facts is None:
        return Finding(Fault.MISSING, part.key, f"{entry.record.file} cannot be restored"), by
    if kind is Fault.SIZE:
        return Finding(kind, part.key, f"{facts.size} bytes; {part.size} were sent for {entry.record.file}"), by
    if kind is Fault.CHECKSUM:
        return Finding(kind, part.key, f"{facts.checksum}; {part.checksum} was sent for {entry.record.file}"), by
    return None, by


def fault_of(part: Part, facts: ObjectFacts | None) -> tuple[Fault | None, str]:
    """Return what is wrong with an object, and what of it was compared: its size, or the checksum of the store.

    Args:
        part: The object, as it was sent.
        facts: What the store says about it; None if it is gone.
    """
    if facts is None:
        return Fault.MISSING, ""
    if facts.size != part.size:
        return Fault.SIZE, "size"
    algorithm = part.checksum.partition(":")[0]
    if not algorithm or facts.checksum.partition(":")[0] != algorithm:
        return None, "size"
    return (Fault.CHECKSUM if facts.checksum != part.checksum else None), "checksum"


def litter(found: Survey) -> Iterator[Finding]:
    """Yield the objects and the uploads that nothing needs, whatever their age is; none of somebody else's."""
    for number, problem in found.unreadable.items():
        yield Finding(Fault.UNREADABLE, entry_key(number), problem)
    for number, entry in found.idle.items():
        why = "its writer had lost the right to write" if number > found.listed else "its checkpoint was deleted"
        yield Finding(Fault.IDLE, entry_key(number), f"{entry.record.file}: {why}", found.entries[number])
    named = found.named
    for key, facts in found.data.items():
        if key not in named and checkpoint_of(key) is not None:
            yield Finding(Fault.ORPHAN, key, f"{facts.size} bytes that no entry names", facts)
    for facts in found.uploads:
        if checkpoint_of(facts.key) is None and number_of(facts.key) is None:
            continue
        yield Finding(Fault.UNFINISHED, facts.key, f"an upload that was not finished, {facts.size} bytes", facts)


def sample(entries: Sequence[Entry], share: float) -> list[Entry]:
    """Return a random share of the entries, at least one of them.

    Args:
        entries: The entries.
        share: Between 0, for none, and 1.
    """
    count = min(len(entries), max(1, round(len(entries) * share))) if share else 0
    return random.sample(entries, count)


def wrong_digest(entry: Entry, error: VerifyError) -> Finding:
    """Return the finding about a checkpoint whose bytes were read."""
    key = entry.parts[0].key if entry.parts else entry_key(entry.number)
    return Finding(Fault.DIGEST, key, str(error).removeprefix(f"{key}: "))


def confirmed(store: ObjectStore, findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings without those about checkpoints that have been deleted there meanwhile."""
    if not any(one.kind in (Fault.MISSING, Fault.SIZE, Fault.DIGEST) for one in findings):
        return list(findings)
    catalog, _ = read_catalog(store)
    named = {CATALOG} | (names(catalog.entries) if catalog is not None else set())
    return [one for one in findings if one.kind.is_litter or one.kind is Fault.UNREADABLE or one.key in named]
