"""Checkpoints of a run directory that a command sends to a mirror, and not training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import MirrorError, VerifyError, first_line
from ..policy.contents import Contents
from ..record import Record, Status, attempt_framework
from ..remote.counted import Counted
from ..remote.object_store import ObjectStore
from ..remote.retried import Retried
from ..runtime.environment import environment
from ..store.file_lock_calls import is_locked
from ..store.lock import command_at_work
from ..store.manifest import Manifest
from .catalog import Catalog, Entry, Part
from .lost_entries import lost_entries
from .notes import Notes
from .ownership import COMMAND, owned
from .reading import read_catalog
from .recorded import URLS, place_of
from .sending import Sending
from .users import ids_in_use
from .wanted import Wishes, records_now, to_amend, to_remove, to_send
from .writer import MirrorWriter

Due = tuple[Record, Contents]


class Pushing:
    """Sends checkpoints of a run directory to a mirror. It takes the right to write only when it sends or deletes.

    Args:
        store: The mirror's store.
        manifest: The manifest of the run directory.
        local: The checkpoints of its newest run, with their files.
        wishes: What the mirror is to hold.
        rate: Bytes per second; None for no limit.
        patience: Seconds for which each request is tried again.
        force: Write there although the run was continued elsewhere since.

    Attributes:
        catalog: What the mirror should hold.
        lost: The entries whose objects are not there any more, of checkpoints that are here.
        moved: Called with each number of bytes that have arrived, on any thread. To be set as it is needed.

    Raises:
        MirrorConflict: The mirror holds another run, or one that was continued elsewhere.
        MirrorError: It cannot be read.
    """

    def __init__(
        self,
        store: ObjectStore,
        manifest: Manifest,
        local: Sequence[Record],
        wishes: Wishes,
        rate: int | None = None,
        patience: float = 30.0,
        force: bool = False,
    ) -> None:
        self._counted, self._manifest, self._local, self._wishes = Counted(store), manifest, local, wishes
        self._store = Retried(self._counted, patience)
        self._notes = Notes(manifest.layout.private, store.url)
        self.moved: Callable[[int], object] = lambda count: None
        self._sending = Sending(self._store, self._notes, rate, lambda: None, lambda count: self.moved(count))
        self._writer: MirrorWriter | None = None
        self._force = force
        found, _ = read_catalog(self._store)
        starts = owned(found, manifest.attempts, store.url, COMMAND, force=force)
        self.catalog = replace(found or Catalog(writer=""), attempts=starts)
        self.lost = lost_entries(self._store, self.catalog, {record.id for record in manifest.live()})

    @property
    def _there(self) -> Catalog:
        return self.lost.left_of(self.catalog)

    def holds(self, record: Record) -> bool:
        """Return whether a checkpoint is there."""
        return self._there.entry_of(record.id) is not None

    def _now(self, catalog: Catalog) -> list[Record]:
        return records_now(catalog, list(self._manifest.records.values()))

    def wanted(self) -> list[Due]:
        """Return the checkpoints that the mirror lacks, and what is needed of each, newest first."""
        return to_send(self._wishes, self._there, self._local, self._now(self._there))

    def removable(self, sent: Sequence[Record] = ()) -> list[Entry]:
        """Return the entries that may go once other checkpoints are there.

        Args:
            sent: These other checkpoints.
        """
        first = self.catalog.number + 1
        drafts = [Entry(number, record, (), "") for number, record in enumerate(sent, first)]
        later = self._there.with_entries(drafts)
        doomed = to_remove(self._wishes, later, self._now(later))
        if self.lost:  # what has gone keeps nothing else there, and goes if no rule wants it
            doomed += self.lost.of(to_remove(self._wishes, self.catalog, self._now(self.catalog)))
        if not doomed:
            return []
        used = ids_in_use(self._store)
        return [entry for entry in doomed if entry.number < first and entry.record.id not in used]

    def send(self, due: Due) -> Entry | None:
        """Send one checkpoint, as it is now, and let it count there; return None if training has deleted it meanwhile.

        Raises:
            FileNotFoundError: It is gone.
            MirrorConflict: Another process sends checkpoints there now.
            MirrorError: The store refuses it, or does not answer.
            VerifyError: It is damaged.
        """
        writer = self._opened()
        if (found := self._sent(*due)) is None:
            return None
        sent, parts = found
        entry = writer.commit(sent, parts)
        writer.remove(self.lost.replaced_in(writer.catalog))
        self.catalog = writer.catalog
        self._notes.note_status(record=entry.record.id, file=entry.record.file, time=time.time(), error="")
        return entry

    def _sent(self, record: Record, needed: Contents) -> tuple[Record, tuple[Part, ...]] | None:
        """Send a checkpoint's bytes, also if training has reduced or packed it since its record was read."""
        layout = self._manifest.layout
        try:
            return self._sending.send_as(layout, record, needed)
        except (FileNotFoundError, VerifyError):
            self._manifest.refresh()
            now = self._manifest.records.get(record.id)
            if now is None or now.status is Status.DELETED:
                return None
            if (now.digest, now.file) == (record.digest, record.file):
                raise
            return self._sending.send_as(layout, now, needed)

    def remove(self, entries: Sequence[Entry]) -> None:
        """Delete checkpoints there. Raises as `send` does."""
        writer = self._opened()
        writer.remove(entries)
        self.catalog = writer.catalog

    def amended(self) -> bool:
        """Bring the facts of what is there up to date, and return whether any have changed. Raises as `send` does."""
        changed = to_amend(self._there, self._now(self._there))
        if changed:
            writer = self._opened()
            writer.amend(changed)
            self.catalog = writer.catalog
        return bool(changed)

    def close(self, error: MirrorError | None = None) -> None:
        """Note what it has cost, and the error that ended it."""
        self._notes.note_requests(*self._counted.taken())
        if error is not None:
            self._notes.note_status(error=first_line(error), failed=time.time())

    def _opened(self) -> MirrorWriter:
        if self._writer is None:
            attempts = self._manifest.attempts
            framework = attempt_framework(attempts[-1]) if attempts else None
            writer = MirrorWriter(self._store, environment()["host"], framework or "", COMMAND)
            writer.open(attempts, self._force)
            self._writer, self.catalog = writer, writer.catalog
        return self._writer


def sends_there(manifest: Manifest, url: str) -> bool:
    """Return whether a training run that is alive sends its checkpoints to a mirror itself.

    Args:
        manifest: The manifest of its directory.
        url: The URL of the mirror's store.
    """
    layout = manifest.layout
    if not is_locked(layout.training_lock) or command_at_work(layout.training_lock, layout.owner) is not None:
        return False
    known = manifest.attempts[-1].facts.get(URLS, ()) if manifest.attempts else ()
    return any(place_of(one) == place_of(url) for one in known)
