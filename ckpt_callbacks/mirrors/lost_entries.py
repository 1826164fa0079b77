"""Entries of a mirror whose objects it has lost, while the run directory still has the checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..remote.object_store import ObjectStore
from ..remote.parallel import in_parallel
from .catalog import Catalog, Entry
from .check import fault_of
from .keys import entry_key

_THREADS = 8


class LostEntries:
    """The entries that do not count, because what they name is gone, or is not what was sent.

    Where a store has no checksum, the size is all that is compared.

    Args:
        entries: These entries.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = {entry.number: entry for entry in entries}

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def files(self) -> str:
        """The names of their checkpoints, newest first."""
        return ", ".join(dict.fromkeys(entry.record.file for _, entry in sorted(self._entries.items(), reverse=True)))

    def left_of(self, catalog: Catalog) -> Catalog:
        """Return a catalog without them."""
        return catalog.without(self._entries.keys()) if self._entries else catalog

    def of(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return those of some entries that are lost."""
        return [entry for entry in entries if entry.number in self._entries]

    def replaced_in(self, catalog: Catalog) -> list[Entry]:
        """Return those whose checkpoints have arrived again, as a catalog says."""
        there = {entry.record.id for entry in self.left_of(catalog).entries}
        return [entry for entry in self.of(catalog.entries) if entry.record.id in there]


def lost_entries(store: ObjectStore, catalog: Catalog, ids: Collection[int]) -> LostEntries:
    """Return the entries whose objects a store has lost. It is asked about each object, several at a time.

    Args:
        store: The store.
        catalog: What the mirror should hold.
        ids: Of the checkpoints that can be sent again; it is not asked about the others.

    Raises:
        MirrorError: It does not answer.
    """
    entries = [entry for entry in catalog.entries if entry.record.id in ids]

    def is_lost(number: int) -> bool:
        entry = entries[number]
        if any(fault_of(part, store.stat(part.key))[0] is not None for part in entry.parts):
            return True
        return store.stat(entry_key(entry.number)) is None  # only the catalog names it, which may be lost as well

    found = in_parallel(is_lost, range(len(entries)), _THREADS)
    return LostEntries(entry for entry, lost in zip(entries, found, strict=True) if lost)
