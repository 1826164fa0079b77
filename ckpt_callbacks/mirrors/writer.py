"""The one process that writes to a mirror."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..errors import MirrorConflict
from ..record import Attempt, Record
from ..remote.object_store import ObjectFacts, ObjectStore
from .catalog import Catalog, Entry, Part
from .keys import CATALOG, entry_key
from .ownership import TRAINING, Wording, merged, owned
from .reading import read_catalog

_TRIES = 4


class MirrorWriter:
    """Writes the entries of a mirror. Another process that begins to do so takes this right away.

    Args:
        store: The store.
        host: This machine, for other people's messages.
        framework: Who writes the checkpoints, such as ``lightning``.
        wording: Of the messages about somebody else's mirror.

    Attributes:
        store: As given.
        catalog: What the mirror holds.
    """

    def __init__(self, store: ObjectStore, host: str, framework: str, wording: Wording = TRAINING) -> None:
        self.store, self._host, self._framework, self._wording = store, host, framework, wording
        self._name, self._version, self._litter = uuid.uuid4().hex[:12], "", list[str]()
        self.catalog = Catalog(self._name)

    def open(self, attempts: Sequence[Attempt], force: bool = False) -> None:
        """Take the right to write.

        Args:
            attempts: All starts of training in the run directory.
            force: Whether to take it as well if the run was continued elsewhere since, and to forget those starts.

        Raises:
            MirrorConflict: It holds the checkpoints of another run directory.
        """
        for tried in range(_TRIES):
            found, version = read_catalog(self.store)
            catalog = replace(
                found or Catalog(self._name, framework=self._framework),
                writer=self._name, host=self._host,
                attempts=owned(found, attempts, self.store.url, self._wording, force=force),
            )  # fmt: skip
            try:
                facts = self.store.put(CATALOG, catalog.to_bytes(), replacing=version)
            except MirrorConflict:
                if tried == _TRIES - 1:
                    raise
                continue
            self.catalog, self._version = catalog, facts.version
            return

    def commit(self, record: Record, parts: Sequence[Part]) -> Entry:
        """Let a checkpoint count whose bytes have arrived.

        Raises:
            MirrorConflict: Another process writes to the mirror now.
        """
        while True:
            self._require_right()
            entry = Entry(self.catalog.number + 1, record, tuple(parts), self._name)
            try:
                self.store.put(entry_key(entry.number), entry.to_bytes(), replacing="")
            except MirrorConflict:
                self._read_again()
                if (known := self.catalog.entry_of(record.id)) is None or known.record.digest != record.digest:
                    continue
                entry = known  # it was written, and the answer was lost
            self._write(_adding(entry))
            return entry

    def amend(self, entries: Iterable[Entry]) -> None:
        """Replace entries by others with the same numbers, whose records say more. Raises as `commit` does.

        The catalog says it. The objects of the entries, which count if the catalog is lost, repeat what protects them.
        """
        changed = list(entries)
        known = {entry.number: entry.record for entry in self.catalog.entries}
        self._require_right()
        self._write(lambda catalog: catalog.with_entries(changed))
        for entry in changed:
            before = known.get(entry.number, entry.record)
            if (before.tags, before.pinned) != (entry.record.tags, entry.record.pinned):
                self.store.put(entry_key(entry.number), entry.to_bytes())

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Add starts of training to the catalog. Raises as `commit` does."""
        if merged(self.catalog.attempts, attempts) != self.catalog.attempts:
            self._require_right()
            self._write(lambda catalog: replace(catalog, attempts=merged(catalog.attempts, attempts)))

    def remove(self, entries: Iterable[Entry]) -> None:
        """Delete checkpoints: first they no longer count, then their bytes go. Raises as `commit` does."""
        doomed = list(entries)
        if doomed:
            self._require_right()
            self._write(lambda catalog: catalog.without({entry.number for entry in doomed}))
            self._litter += [entry_key(entry.number) for entry in doomed]
            self._litter += [part.key for entry in doomed for part in entry.parts]
        used = {part.key for entry in self.catalog.entries for part in entry.parts}
        self._litter = [key for key in dict.fromkeys(self._litter) if key not in used]
        if self._litter:
            self.store.delete([ObjectFacts(key) for key in self._litter])
            self._litter.clear()

    def _write(self, change: Callable[[Catalog], Catalog]) -> None:
        """Change the catalog. If the answer to the last change was lost, the store has a newer one of this process."""
        while True:
            changed = change(self.catalog)
            try:
                self._version = self.store.put(CATALOG, changed.to_bytes(), replacing=self._version).version
            except MirrorConflict:
                self._read_again()
                continue
            self.catalog = changed
            return

    def _require_right(self) -> None:
        """Raise `MirrorConflict` if another process writes, in a store that does not notice that itself."""
        if not self.store.has_conditions:
            self._read_again()

    def _read_again(self) -> None:
        """Read the catalog, and raise `MirrorConflict` if another process has taken the right to write."""
        found, version = read_catalog(self.store)
        if found is not None and found.writer not in ("", self._name):
            raise MirrorConflict(
                f"{self.store.url}: another process, on {found.host or 'another host'}, sends checkpoints there now"
                f"{self._wording.consequence}; expected a place for each run"
            )
        if found is not None:
            self.catalog = replace(found, writer=self._name, host=self._host)
        self._version = version


def _adding(entry: Entry) -> Callable[[Catalog], Catalog]:
    return lambda catalog: catalog.with_entries([entry])
