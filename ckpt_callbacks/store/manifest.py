"""The manifest: the source of truth about a run's checkpoints, as an append-only journal.

Each line is ``CRC32 JSON\\n``. A line holds a whole record (``{"record": {...}}``), a change of some of its facts
(``{"id": 3, "set": {...}}``), or the start of a training (``{"attempt": {...}}``). A torn last line is what a crash
leaves, and is ignored; a damaged line in the middle is skipped and reported.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..record import Record
from .layout import Layout
from .lock import FileLock


@dataclass(frozen=True)
class Attempt:
    """One start of a training.

    Attributes:
        run: Identifies the run; kept over resumes. number: 1 for the first start of the run, then counting up.
        parent: Id of the record that this start continued from; None for a fresh one.
        wall: UTC seconds since 1970. facts: host, process, framework versions and the like.
    """

    run: str
    number: int
    parent: int | None
    wall: float
    facts: Mapping[str, Any] = field(default_factory=dict)


class Manifest:
    """The journal of one run directory. Any number of readers; writers take a short lock for each append.

    Attributes:
        records: All records by id, deleted and failed ones included. attempts: all starts, oldest first.
        problems: One line for each journal line that could not be used.
    """

    def __init__(self, dirpath: Path) -> None:
        self.layout = Layout(dirpath)
        self.records: dict[int, Record] = {}
        self.attempts: list[Attempt] = []
        self.problems: list[str] = []
        self._highest = 0
        self._offset = 0
        self._lines = 0
        self._lock = FileLock(self.layout.journal_lock)

    @classmethod
    def read(cls, dirpath: str | os.PathLike[str]) -> Manifest:
        """The manifest as it stands; empty where there is none.

        Raises:
            StoreError: the journal is there but cannot be read.
        """
        manifest = cls(Path(dirpath))
        manifest.refresh()
        return manifest

    @property
    def next_id(self) -> int:
        """An id that no record has or had."""
        return self._highest + 1

    def live(self) -> list[Record]:
        """Records whose file should be there, in the order of their ids."""
        return [self.records[i] for i in sorted(self.records) if self.records[i].status.on_disk]

    def refresh(self) -> None:
        """Read what other writers appended since the last look."""
        try:
            with self.layout.journal.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self.layout.journal}: the manifest cannot be read: {error.strerror or error}") from error
        end = data.rfind(b"\n") + 1  # behind the last newline stands a torn line, or one that is being written
        self._offset += end
        for line in data[:end].splitlines():
            self._lines += 1
            if line:
                self._fold(line)

    def put(self, record: Record) -> Record:
        """Append a whole record."""
        self._append({"record": record.to_json()})
        return self.records[record.id]

    def change(self, id_: int, **facts: Any) -> Record:
        """Append a change of some facts of a record, and return the record as it is then."""
        changed = self.records[id_].replace(**facts).to_json()
        self._append({"id": id_, "set": {name: changed[name] for name in facts}})
        return self.records[id_]

    def start(self, attempt: Attempt) -> None:
        """Append the start of a training."""
        self._append({"attempt": asdict(attempt)})

    def _append(self, entry: Mapping[str, Any]) -> None:
        payload = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode()
        line = b"%08x %s\n" % (zlib.crc32(payload), payload)
        with self._lock:
            self.refresh()
            descriptor = os.open(self.layout.journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                end = os.lseek(descriptor, 0, os.SEEK_END)
                if end > self._offset:  # a torn line: close it, so that it cannot damage this one
                    line = b"\n" + line
                written = 0
                while written < len(line):
                    written += os.write(descriptor, line[written:])
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self.refresh()

    def _fold(self, line: bytes) -> None:
        check, _, payload = line.partition(b" ")
        try:
            if int(check, 16) != zlib.crc32(payload):
                raise ValueError("checksum")
            entry = json.loads(payload)
        except ValueError:
            self.problems.append(f"{self.layout.journal}: line {self._lines} is damaged and was skipped")
            return
        if "record" in entry:
            record = Record.from_json(entry["record"], str(self.layout.dirpath))
            self.records[record.id] = record
            self._highest = max(self._highest, record.id)
        elif "set" in entry:
            self._highest = max(self._highest, entry["id"])
            if entry["id"] in self.records:
                facts = self.records[entry["id"]].to_json() | entry["set"]
                self.records[entry["id"]] = Record.from_json(facts, str(self.layout.dirpath))
        elif "attempt" in entry:
            self.attempts.append(Attempt(**entry["attempt"]))
