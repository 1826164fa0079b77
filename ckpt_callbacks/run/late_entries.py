"""Entries that the journal could not take when they were due, for example because the disk was full."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import StoreError, cause_of
from ..record import Attempt, Record
from ..store.disk_space import FULL
from ..store.manifest import Manifest

log = logging.getLogger("ckpt_callbacks")


class LateEntries:
    """The starts of training and the failed saves that are not in the journal yet.

    They are written in the order in which they happened. A failed save never comes before the start that it belongs to:
    if that start were never recorded, the next one would get its number, and the failure with it.

    Args:
        manifest: The manifest.
        record_start: Records a start of training.

    Attributes:
        before_start: Called with a start of training that has waited for the directory, once that is taken; returns
            what is written.
    """

    def __init__(self, manifest: Manifest, record_start: Callable[[Attempt], None]) -> None:
        self._manifest, self._record_start = manifest, record_start
        self.before_start: Callable[[Attempt], Attempt] = lambda begun: begun
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

    def start(self, attempt: Attempt) -> None:
        """Write a start of training, or add it if the disk is full.

        Raises:
            StoreError: The directory cannot be written, and not only because the disk is full.
        """
        self.add(attempt)
        dirpath = self._manifest.layout.dirpath
        try:
            self.write()
        except OSError as error:
            if error.errno not in FULL:
                self._entries.remove(attempt)
                raise StoreError(f"{dirpath}: cannot be written: {cause_of(error)}") from error
            log.warning(
                "%s: nothing can be saved: %s; training goes on, and saves begin once there is space",
                dirpath, cause_of(error),
            )  # fmt: skip

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

    def reopen(self, begun: Attempt | None) -> None:
        """Forget what can no longer be written once the directory was released, because another run may have had it.

        Args:
            begun: A start of training that waits for the directory.
        """
        starts = {(attempt.run, attempt.number) for attempt in self._manifest.attempts}
        self._entries = [
            entry
            for entry in self._entries
            if isinstance(entry, Record)
            and (entry.run, entry.attempt) in starts
            and entry.id not in self._manifest.records
        ] + ([] if begun is None else [self.before_start(begun)])
