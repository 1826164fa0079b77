"""The manifest: the source of truth about a run's checkpoints, kept in a journal.

An entry of the journal holds a whole record (``{"record": {...}}``), a change of some of its facts
(``{"id": 3, "set": {...}}``), or the start of a training run (``{"attempt": {...}}``).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..record import Attempt, Record, Status
from .journal import Journal, JournalReplaced, Line
from .layout import PRIVATE, Layout
from .lock import FileLock, reclaim
from .private_files import make_folder

log = logging.getLogger("ckpt_callbacks")
_ID = attrgetter("id")


class Manifest:
    """The journal of one run directory. Any number of readers; writers take a short lock for each append.

    Attributes:
        layout: The paths of the directory.
        records: All records by id, deleted and failed ones included.
        attempts: All starts of training, oldest first.
        problems: One line for each journal line that could not be used.
    """

    def __init__(self, dirpath: Path) -> None:
        self.layout = Layout(dirpath)
        self.records: dict[int, Record] = {}
        self._live: dict[int, Record] = {}  # the records whose file should exist
        self.attempts: list[Attempt] = []
        self.problems: list[str] = []
        self._highest = 0
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

    def live(self) -> list[Record]:
        """Return the records whose file should exist, in the order of their ids."""
        # `sorted` first copies the table in one call, because another thread may change it meanwhile.
        return sorted(self._live.values(), key=_ID)

    def verified(self, run: str) -> list[Record]:
        """Return the run's verified records that have a file. No other record may take the place of an older one."""
        return [r for r in self.live() if r.run == run and r.status is not Status.COMMITTED]

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
            facts = facts_of(self.records[id_])
            changed = self.records[id_].replace(**facts).to_json()
            return {"id": id_, "set": {name: changed[name] for name in facts}} if facts else None

        self._append(entry)
        return self.records[id_]

    def start(self, attempt: Attempt) -> None:
        """Append the start of a training run."""
        self._append(lambda: {"attempt": asdict(attempt)})

    def rewrite(self) -> None:
        """Replace the journal with a new one of everything known, in one step, and keep the old one next to it."""
        with self._mutex, self._lock:
            self.refresh()  # another writer may have appended since
            self._journal.replace(_entries(self.attempts, self.records.values()))
            self.problems.clear()
            self.attempts = []
            self.refresh()

    def _read_again(self) -> None:
        """Read a replaced journal from its start if it contains everything known from the previous one."""
        found = Manifest.read(self.layout.dirpath)
        if self.attempts != found.attempts[: len(self.attempts)] or not self.records.keys() <= found.records.keys():
            raise StoreError(
                f"{self.layout.journal}: is not the manifest that this process read before; the file or the whole "
                "directory was replaced; choose another directory, or start again"
            )
        self.records, self._live, self._highest = found.records, found._live, found._highest
        self.attempts, self._journal = found.attempts, found._journal
        self.problems += found.problems

    def _append(self, entry_of: Callable[[], Mapping[str, Any] | None]) -> None:
        make_folder(self.layout.private)
        with self._mutex, self._lock:
            self.refresh()
            entry = entry_of()
            if entry is None:
                return
            if self._journal.append(entry, self._restored):
                self.attempts = []
            self.refresh()

    def _restored(self) -> list[Mapping[str, Any]]:
        """Return the entries of a journal that was deleted during training, from memory."""
        journal = self.layout.journal
        if not reclaim(self.layout.training_lock):
            raise StoreError(f"{journal}: the manifest vanished; the file or the whole run was deleted")
        lost = {record.id: record for record in self.live() if not os.path.lexists(record.path)}
        if lost and len(lost) == len(self.live()):
            log.warning(
                "%s: the run directory was renamed or deleted during training; training continues in a new one of the "
                "same name, without the earlier checkpoints (%d)", self.layout.dirpath, len(lost),
            )  # fmt: skip
        else:
            log.warning("%s: the manifest was deleted during training; rewrote it from memory", journal)
            for record in lost.values():
                log.warning("%s: was deleted by another program", record.path)
        deleted = {
            id_: record.replace(status=Status.DELETED, error="deleted by another program")
            for id_, record in lost.items()
        }
        return list(_entries(self.attempts, (self.records | deleted).values()))

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

    def _take(self, entry: Mapping[str, Any]) -> None:
        if "record" in entry:
            self._keep(Record.from_json(entry["record"], str(self.layout.dirpath)))
        elif "set" in entry:
            self._highest = max(self._highest, entry["id"])
            if entry["id"] in self.records:
                facts = self.records[entry["id"]].to_json() | entry["set"]
                self._keep(Record.from_json(facts, str(self.layout.dirpath)))
        elif "attempt" in entry:
            self.attempts.append(Attempt.from_json(entry["attempt"]))

    def _keep(self, record: Record) -> None:
        self.records[record.id] = _inside(record)
        if record.status.on_disk:
            self._live[record.id] = record
        else:
            self._live.pop(record.id, None)
        self._highest = max(self._highest, record.id)


def _entries(attempts: Iterable[Attempt], records: Iterable[Record]) -> Iterator[Mapping[str, Any]]:
    for attempt in attempts:
        yield {"attempt": asdict(attempt)}
    for record in sorted(records, key=_ID):
        yield {"record": record.to_json()}


def _inside(record: Record) -> Record:
    """Return the record if its file is directly in the run directory, because retention deletes files by this name."""
    if not isinstance(record.file, str) or record.file in ("", ".", "..", PRIVATE) or set(record.file) & {"/", "\0"}:
        raise ValueError(f"{record.file!r} is not the name of a file in the run directory")
    return record
