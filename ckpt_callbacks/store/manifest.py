"""The manifest: the source of truth about a run's checkpoints, kept in a journal.

An entry of the journal holds a whole record (``{"record": {...}}``), a change of some of its facts
(``{"id": 3, "set": {...}}``), or the start of a training run (``{"attempt": {...}}``). Once records have left for the
history, ``{"id": 900, "set": {}, "moved": {...}}`` says how much of the history is valid, and names the highest id.
Versions that do not know the history read it as a change that changes nothing, and use no id twice. In any entry,
``"absent": [1, 2]`` names deleted records whose files are gone.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..record import Attempt, Record, Status
from .gone_files import GoneFiles
from .history import History, Moved
from .journal import Journal, JournalReplaced, Line
from .layout import Layout, require_inside
from .lock import FileLock
from .private_files import make_folder
from .vanished_journal import records_after_loss

_ID = attrgetter("id")


class Manifest:
    """The journal of one run directory. Any number of readers; writers take a short lock for each append.

    Attributes:
        layout: The paths of the directory.
        records: The records of the journal by id: those whose file should exist, and deleted and failed ones that have
            not left it.
        history: The records that have left the journal.
        attempts: All starts of training, oldest first.
        problems: One line for each journal line that could not be used.
        gone_files: The deleted records whose file is gone, as far as the journal does not say so.
    """

    def __init__(self, dirpath: Path) -> None:
        self.layout = Layout(dirpath)
        self.records: dict[int, Record] = {}
        self._live: dict[int, Record] = {}  # the records whose file should exist
        self.history = History(self.layout)
        self._is_intact = True  # False after a line that a new journal would not contain
        self.attempts: list[Attempt] = []
        self.problems: list[str] = []
        self._highest = 0
        self.gone_files = GoneFiles()
        self._journal = Journal(self.layout.journal)
        self._mutex = threading.RLock()
        self._lock = FileLock(self.layout.journal_lock)

    @classmethod
    def read(cls, dirpath: str | os.PathLike[str]) -> Manifest:
        """Return the manifest of a directory; an empty one if there is none.

        Raises:
            StoreError: The journal exists but cannot be read.
        """
        manifest = cls(Path(dirpath))
        manifest.refresh()
        return manifest

    @property
    def next_id(self) -> int:
        """An id that was never used."""
        return self._highest + 1

    @property
    def newest_run(self) -> str:
        """The run that was trained last; an empty string if there is none."""
        if self.attempts:
            return self.attempts[-1].run
        return next((record.run for record in reversed(self.live())), "")  # the line with its start is lost

    def counts(self, id_: int) -> bool:
        """Return whether the file of a record should exist."""
        return id_ in self._live

    def live(self) -> list[Record]:
        """Return the records whose file should exist, in the order of their ids."""
        # `sorted` first copies the table in one call, because another thread may change it meanwhile.
        return sorted(self._live.values(), key=_ID)

    def verified(self, run: str) -> list[Record]:
        """Return the run's verified records that have a file. No other record may take the place of an older one."""
        return [r for r in self.live() if r.run == run and r.status is not Status.COMMITTED]

    def recall(self, id_: int) -> Record | None:
        """Return a record of the journal, or else of the history; None if neither has it.

        Raises:
            StoreError: The history cannot be read.
        """
        return self.records.get(id_) or self.history.newest([id_]).get(id_)

    def _known(self, id_: int) -> Record:
        if (record := self.recall(id_)) is None:
            raise KeyError(id_)
        return record

    def refresh(self) -> None:
        """Read the lines that other writers appended. If the journal was deleted, everything known stays known.

        Raises:
            StoreError: The journal cannot be read, or is not the one that was read before.
        """
        with self._mutex:
            try:
                lines = self._journal.read()
            except JournalReplaced:
                self._read_again()
                return
            for line in lines:
                self._fold(line)

    def put(self, record: Record) -> Record:
        """Append a whole record."""
        self._append(lambda: {"record": record.to_json()})
        return self.records[record.id]

    def change(self, id_: int, **facts: Any) -> Record:
        """Append a change to some facts of a record, and return the changed record."""
        return self.amend(id_, lambda record: facts)

    def amend(self, id_: int, facts_of: Callable[[Record], Mapping[str, Any]]) -> Record:
        """Append a change that depends on the record as it is now, and return the changed record.

        Args:
            id_: The record's id.
            facts_of: Is called once everything that other writers appended has been read, while none of them can
                append. Returns the facts to change; if there are none, nothing is appended.
        """

        def entry() -> Mapping[str, Any] | None:
            record = self._known(id_)
            facts = facts_of(record)
            changed = record.replace(**facts).to_json()
            if id_ not in self.records:  # the whole record comes back from the history
                return {"record": changed} if facts else None
            return {"id": id_, "set": {name: changed[name] for name in facts}} if facts else None

        self._append(entry)
        return self._known(id_)

    def start(self, attempt: Attempt) -> None:
        """Append the start of a training run."""
        self._append(lambda: {"attempt": asdict(attempt)})

    def reserve(self, highest: int) -> None:
        """Keep the ids up to this one from being given to new records."""
        self._append(lambda: {"id": highest, "set": {}} if highest > self._highest else None)

    def say_gone(self) -> None:
        """Append which deleted records' files are gone, unless another entry has said so, or nothing can be written."""
        if self.gone_files.unsaid(self.records) and os.path.lexists(self.layout.journal):
            with contextlib.suppress(OSError, StoreError):  # the next start looks for the files itself
                self._append(lambda: {"id": self._highest, "set": {}} if self.gone_files.unsaid(self.records) else None)

    def rewrite(self) -> None:
        """Replace the journal with a new one of everything known, in one step, and keep the old one next to it."""
        with self._mutex, self._lock:
            self.refresh()  # another writer may have appended since
            self._journal.replace(self._entries(self.records.values(), self._moved()), keep_old=True)
            self.problems.clear()
            self._read_again()

    def compact(self, settled: Callable[[], Collection[Record]]) -> None:
        """Move records to the history. Only the holder of the training lock may call it.

        Nothing is moved if a line could be lost: the line of another writer in a file system without locks, or a line
        of the journal that is damaged or that a newer version wrote.

        Args:
            settled: Called while no other writer can append. Returns deleted and failed records that nothing needs.

        Raises:
            OSError: The history or the journal cannot be written. All records are then still in the journal.
        """
        with self._mutex, self._lock:
            self.refresh()
            if not (self._lock.excludes and self._is_intact and self._journal.is_whole and (leaving := settled())):
                return
            if self.history.moved.size is None:
                self._journal.append(self._moved().entry(self._highest), list)
                self.refresh()
            moved = self.history.append(leaving, self.layout.journal)
            ids = {record.id for record in leaving}
            kept = [record for record in self.records.values() if record.id not in ids]
            try:
                self._journal.replace(self._entries(kept, moved), keep_old=False)
            finally:
                self.refresh()  # the new one may be in place in spite of an error

    def _moved(self) -> Moved:
        """Return what the journal says about the history, or must say if it does not."""
        if (moved := self.history.moved).size is None:
            moved, highest = self.history.recounted(self.records)
            self._highest = max(self._highest, highest)
        return moved

    def _read_again(self) -> None:
        """Read a replaced journal from its start if it contains everything known from the previous one."""
        found = Manifest.read(self.layout.dirpath)
        gone = self.records.keys() - found.records.keys()
        has_moved = len(gone) <= found.history.moved.count - self.history.moved.count
        has_moved = has_moved or gone <= found.history.newest(gone).keys()  # the history may have been counted again
        if self.attempts != found.attempts[: len(self.attempts)] or not has_moved:
            raise StoreError(
                f"{self.layout.journal}: is not the manifest that this process read before; the file or the whole "
                "directory was replaced; choose another directory, or start again"
            )
        found._journal.is_settled = self._journal.is_settled
        # First, because a reader in another thread looks for a record that has just moved in the table, then in it.
        if found.history.moved.size is not None:  # otherwise, its line is damaged
            self.history = found.history
        self.records, self._live = found.records, found._live
        self._highest = max(self._highest, found._highest)
        self.attempts, self._journal, self._is_intact = found.attempts, found._journal, found._is_intact
        self.problems += found.problems

    def _append(self, entry_of: Callable[[], Mapping[str, Any] | None]) -> None:
        make_folder(self.layout.private)
        with self._mutex, self._lock:
            self.refresh()
            entry = entry_of()
            if entry is None:
                return
            if unsaid := self.gone_files.unsaid(self.records):
                entry = {**entry, "absent": unsaid}
            if self._journal.append(entry, self._restored):
                self.attempts = []
            self.refresh()

    def _restored(self) -> list[Mapping[str, Any]]:
        """Return the entries of a journal that was deleted during training, from memory."""
        return list(self._entries(records_after_loss(self.layout, self.records, self.live()), self.history.moved))

    def _fold(self, line: Line) -> None:
        if line.is_damaged:
            kept = "is damaged; its intact entries were kept" if line.entries else "is damaged and was skipped"
            self._report(line, kept)
        for entry in line.entries:
            try:
                self._take(entry)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                self._report(
                    line, f"was not understood and was skipped; did a newer ckpt-callbacks write it? ({error})"
                )

    def _report(self, line: Line, problem: str) -> None:
        self.problems.append(f"{self.layout.journal}: line {line.number} {problem}")
        self._is_intact = False

    def _take(self, entry: Mapping[str, Any]) -> None:
        if "record" in entry:
            self._keep(Record.from_json(entry["record"], str(self.layout.dirpath)))
        elif "set" in entry:
            self._highest = max(self._highest, entry["id"])
            if entry["id"] in self.records:
                facts = self.records[entry["id"]].to_json()
                if "status" in entry["set"]:
                    del facts["absent"]  # that was said of the status before
                self._keep(Record.from_json(facts | entry["set"], str(self.layout.dirpath)))
            if "moved" in entry:
                self.history.moved = Moved.from_json(entry["moved"])
        elif "attempt" in entry:
            self.attempts.append(Attempt.from_json(entry["attempt"]))
        else:  # a newer version wrote it
            self._is_intact = False
        for id_ in entry.get("absent", ()):
            if (record := self.records.get(id_)) is not None and record.status is Status.DELETED:
                self._keep(record.replace(absent=True))

    def _keep(self, record: Record) -> None:
        require_inside(record.file)
        self.records[record.id] = record
        if record.status.on_disk:
            self._live[record.id] = record
        else:
            self._live.pop(record.id, None)
        self._highest = max(self._highest, record.id)

    def _entries(self, records: Iterable[Record], moved: Moved) -> Iterator[Mapping[str, Any]]:
        """Yield the entries of a new journal."""
        if moved.size is not None:
            yield moved.entry(self._highest)
        for attempt in self.attempts:
            yield {"attempt": asdict(attempt)}
        for record in self.gone_files.marked(sorted(records, key=_ID)):
            yield {"record": record.to_json()}
