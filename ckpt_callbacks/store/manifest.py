"""The manifest: the source of truth about a run's checkpoints, as an append-only journal.

Each line is ``CRC32 JSON\\n``. A line holds a whole record (``{"record": {...}}``), a change of some of its facts
(``{"id": 3, "set": {...}}``), or the start of a training run (``{"attempt": {...}}``). A crash leaves a torn last line.
It was never acknowledged, so it is ignored and then removed. A damaged line in the middle is skipped and reported.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..record import Attempt, Record, Status
from .commit import free_name, sync_folder
from .layout import PRIVATE, Layout
from .lock import FileLock, reclaim

log = logging.getLogger("ckpt_callbacks")
_HEAD = re.compile(rb"(?=[0-9a-f]{8} \{)")
_ID = attrgetter("id")
_REMEMBERED = 1024  # bytes before the offset by which a journal is recognized


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
        self._offset = 0
        self._lines = 0
        self._seen = b""  # the last bytes before the offset
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
            data = self._unread()
            if not data:
                return
            end = data.rfind(b"\n") + 1  # after the last newline comes a torn line, or one that is being written
            self._offset += end
            self._seen = (self._seen + data[:end])[-_REMEMBERED:]
            for line in data[:end].split(b"\n")[:-1]:
                self._lines += 1
                if line:
                    self._fold(line)

    def put(self, record: Record) -> Record:
        """Append a whole record."""
        self._append({"record": record.to_json()})
        return self.records[record.id]

    def change(self, id_: int, **facts: Any) -> Record:
        """Append a change to some facts of a record, and return the changed record."""
        changed = self.records[id_].replace(**facts).to_json()
        self._append({"id": id_, "set": {name: changed[name] for name in facts}})
        return self.records[id_]

    def start(self, attempt: Attempt) -> None:
        """Append the start of a training run."""
        self._append({"attempt": asdict(attempt)})

    def rewrite(self) -> None:
        """Replace the journal with a new one of everything known, in one step, and keep the old one next to it."""
        journal, draft = self.layout.journal, self.layout.journal.with_suffix(".new")
        with self._mutex, self._lock:
            self.refresh()  # another writer may have appended since
            draft.unlink(missing_ok=True)
            _write(draft, 0, self._known())
            os.link(journal, journal.with_name(free_name(journal.parent, journal.name, ".damaged")))
            os.replace(draft, journal)
            sync_folder(self.layout.private)
            self.problems.clear()
            self._offset, self._lines, self._seen, self.attempts = 0, 0, b"", []
            self.refresh()

    def _known(self) -> bytes:
        lines = [_line({"attempt": asdict(attempt)}) for attempt in self.attempts]
        return b"".join(lines + [_line({"record": record.to_json()}) for _, record in sorted(self.records.items())])

    def _unread(self) -> bytes | None:
        """Return the bytes after the part that was read; None if the journal is missing or was emptied."""
        journal = self.layout.journal
        try:
            with journal.open("rb") as file:
                if self._offset and not os.fstat(file.fileno()).st_size:
                    return None
                file.seek(self._offset - len(self._seen))
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"{journal}: the manifest cannot be read: {error.strerror or error}; "
                f"call `ckpt doctor {self.layout.dirpath}`"
            ) from error
        if data.startswith(self._seen):
            return data[len(self._seen) :]
        self._read_again()
        return b""

    def _read_again(self) -> None:
        """Read a replaced journal from its start if it contains everything known from the previous one."""
        found = Manifest.read(self.layout.dirpath)
        if self.attempts != found.attempts[: len(self.attempts)] or not self.records.keys() <= found.records.keys():
            raise StoreError(
                f"{self.layout.journal}: is not the manifest that this process read before; the file or the whole "
                "directory was replaced; choose another directory, or start again"
            )
        self.records, self._live, self._highest = found.records, found._live, found._highest
        self.attempts = found.attempts
        self._offset, self._lines, self._seen = found._offset, found._lines, found._seen
        self.problems += found.problems

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = _line(entry)
        self.layout.private.mkdir(parents=True, exist_ok=True)
        with self._mutex, self._lock:
            self.refresh()
            tail = self._unread()
            if tail is None and self._offset:
                line = self._restored() + line
            end = self._offset if tail is not None else 0
            if tail and any(_intact_entries(tail)):  # not from a crash: the newline of an intact line was damaged
                line, end = b"\n" + line, end + len(tail)
            _write(self.layout.journal, end, line)
            if end == 0:
                self._begin()
            self.refresh()

    def _restored(self) -> bytes:
        """Return the lines of a journal that was deleted during training, from memory."""
        journal = self.layout.journal
        if not reclaim(self.layout.training_lock):
            raise StoreError(f"{journal}: the manifest vanished; the file or the whole run was deleted")
        log.warning("%s: the manifest was deleted during training; rewrote it from memory", journal)
        lines = [_line({"attempt": asdict(attempt)}) for attempt in self.attempts]
        for _, record in sorted(self.records.items()):
            if record.status.on_disk and not os.path.lexists(record.path):
                log.warning("%s: was deleted by another program", record.path)
                record = record.replace(status=Status.DELETED, error="deleted by another program")
            lines.append(_line({"record": record.to_json()}))
        return b"".join(lines)

    def _begin(self) -> None:
        """Read a new journal from its start, and make sure that it survives a power loss."""
        self._offset, self._lines, self._seen, self.attempts = 0, 0, b"", []
        sync_folder(self.layout.private)
        sync_folder(self.layout.dirpath)
        for folder in self.layout.dirpath.absolute().parents:  # any of them may be new; some may not be accessible
            with contextlib.suppress(OSError):
                sync_folder(folder)

    def _fold(self, line: bytes) -> None:
        entry = _entry(line)
        found = [entry] if entry is not None else list(_intact_entries(line))
        if entry is None:
            self._report("is damaged; its intact entries were kept" if found else "is damaged and was skipped")
        for entry in found:
            try:
                self._take(entry)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                self._report(f"was not understood and was skipped; did a newer ckpt-callbacks write it? ({error})")

    def _report(self, problem: str) -> None:
        self.problems.append(f"{self.layout.journal}: line {self._lines} {problem}")

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


def _inside(record: Record) -> Record:
    """Return the record if its file is directly in the run directory, because retention deletes files by this name."""
    if not isinstance(record.file, str) or record.file in ("", ".", "..", PRIVATE) or set(record.file) & {"/", "\0"}:
        raise ValueError(f"{record.file!r} is not the name of a file in the run directory")
    return record


def _write(journal: Path, end: int, lines: bytes) -> None:
    """Write ``lines`` after the first ``end`` bytes, durably, or not at all."""
    descriptor = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        if os.lseek(descriptor, 0, os.SEEK_END) > end:
            os.ftruncate(descriptor, end)
        try:
            written = 0
            while written < len(lines):
                written += os.write(descriptor, lines[written:])
            os.fsync(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)


def _line(entry: Mapping[str, Any]) -> bytes:
    payload = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def _entry(line: bytes) -> Any:
    """Return the entry of a line; None when it is damaged."""
    check, _, payload = line.partition(b" ")
    try:
        return json.loads(payload) if check == b"%08x" % zlib.crc32(payload) else None
    except ValueError:
        return None


def _intact_entries(damaged: bytes) -> Iterator[Any]:
    """Yield the intact entries of a damaged line; a damaged newline joins two."""
    for piece in _HEAD.split(damaged):
        entry = _entry(piece) or _entry(piece[:-1])
        if entry is not None:
            yield entry
