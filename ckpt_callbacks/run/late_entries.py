"""Entries that the journal could not take when they were due, for example because the disk was full."""

from __future__ import annotations

from collections.abc import Callable

from ..record import Attempt, Record
from ..store.manifest import Manifest


class LateEntries:
    """The starts of training and the failed saves that are not in the journal yet.

    They are written in the order in which they happened. A failed save never comes before the start that it belongs to:
    if that start were never recorded, the next one would get its number, and the failure with it.

    Args:
        manifest: The manifest.
        record_start: Records a start of training.
    """

    def __init__(self, manifest: Manifest, record_start: Callable[[Attempt], None]) -> None:
        self._manifest, self._record_start = manifest, record_start
        self._entries: list[Attempt | Record] = []

    @property
    def failed_ids(self) -> list[int]:
        """The ids of the failed saves."""
        return [entry.id for entry in list(self._entries) if isinstance(entry, Record)]

    @property
    def starts(self) -> list[Attempt]:
        """The starts of training."""
        return [entry for entry in list(self._entries) if isinstance(entry, Attempt)]

    def add(self, entry: Attempt | Record) -> None:
        """Add an entry that is to be written next."""
        self._entries.append(entry)

    def withdraw(self, attempt: Attempt) -> None:
        """Forget a start of training that did not take place."""
        self._entries.remove(attempt)

    def write(self) -> None:
        """Write all entries.

        Raises:
            OSError: The disk is still full. What could not be written stays for the next call.
        """
        while self._entries:
            entry = self._entries[0]
            if isinstance(entry, Record):
                self._manifest.put(entry)
            else:
                self._record_start(entry)
            del self._entries[0]

    def reopen(self) -> None:
        """Forget what can no longer be written once the directory was released, because another run may have had it."""
        starts = {(attempt.run, attempt.number) for attempt in self._manifest.attempts}
        self._entries = [
            entry
            for entry in self._entries
            if isinstance(entry, Record)
            and (entry.run, entry.attempt) in starts
            and entry.id not in self._manifest.records
        ]
