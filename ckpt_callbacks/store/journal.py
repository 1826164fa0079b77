"""The journal: an append-only file of JSON entries, each on a line ``CRC32 JSON\\n``.

A crash leaves a torn last line. It was never acknowledged, so it is ignored and then removed. A damaged line in the
middle is skipped and reported.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import StoreError
from .commit import free_draft, free_name, sync_folder
from .obstruction import obstruction
from .private_files import open_file

_HEAD = re.compile(rb"(?=[0-9a-f]{8} \{)")
_REMEMBERED = 1024  # bytes before the offset by which a journal is recognized
_LONGEST_FIRST = 512  # bytes of a first line that says what has moved to the history


class JournalReplaced(StoreError):
    """The journal is not the file that was read before."""


class Line(NamedTuple):
    """A line of a journal.

    Attributes:
        number: Its number, from 1.
        entries: Its entry; if it is damaged, the intact entries in it, because a damaged newline joins two.
        is_damaged: True if the line is not what was written.
    """

    number: int
    entries: list[Any]
    is_damaged: bool


class Journal:
    """A journal file, and how far it was read. Any number of readers; a writer holds a lock for each append.

    Args:
        path: The file. Its folder must exist when something is appended.

    Attributes:
        path: As given.
        is_settled: False while a power loss could still bring back the file that `replace` has replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.is_settled = path, True
        self._offset = 0
        self._lines = 0
        self._seen = b""  # the last bytes before the offset
        self._first = b""  # the first line, if it says what has moved; each `replace` changes it
        self._tail: bytes | None = None  # the bytes after the last newline; None if the file was missing or empty

    def read(self) -> Iterator[Line]:
        """Return the lines that were appended since the last call; none if the file was deleted.

        Raises:
            JournalReplaced: The file is not the one that was read before. Nothing of it counts as read.
            StoreError: The file cannot be read.
        """
        unread = self._unread()
        data = unread or b""
        end = data.rfind(b"\n") + 1  # after the last newline comes a torn line, or one that is being written
        self._tail = None if unread is None else data[end:]
        self._offset += end
        self._seen = (self._seen + data[:end])[-_REMEMBERED:]
        return self._lines_in(data[:end])

    def append(self, entry: Mapping[str, Any], known: Callable[[], Iterable[Mapping[str, Any]]]) -> bool:
        """Append an entry durably, or not at all. Everything before it has been read while the lock was held.

        Args:
            entry: The entry.
            known: Called if the file that was read has been deleted. Returns the entries to write again before this
                one.

        Returns:
            True if the journal is new, and is to be read again from its start.
        """
        self._settle()
        line = encoded(entry)
        tail = self._tail
        if tail is None and self._offset:
            line = b"".join(map(encoded, known())) + line
        end = self._offset if tail is not None else 0
        if tail and any(intact_entries(tail)):  # not from a crash: the newline of an intact line was damaged
            line, end = b"\n" + line, end + len(tail)
        write(self.path, end, line)
        if end == 0:
            self._sync_folders()
            self._forget()
        return end == 0

    @property
    def is_whole(self) -> bool:
        """Whether the file existed at the last `read` and was read completely."""
        return self._tail is not None and not any(intact_entries(self._tail))

    def replace(self, entries: Iterable[Mapping[str, Any]], *, keep_old: bool) -> None:
        """Replace the file, in one step, with a new one that holds these entries. The next `read` notices that.

        Args:
            entries: The entries.
            keep_old: Whether to keep the old file next to it.

        Raises:
            OSError: It could not be replaced, or a user who may write the old file could not write the new one.
        """
        replace(self.path, b"".join(map(encoded, entries)), keep_old=keep_old)
        self.is_settled = False
        self._settle()

    def _settle(self) -> None:
        """Make sure that a power loss cannot bring back the old file after something is appended to the new one."""
        if not self.is_settled:
            sync_folder(self.path.parent)
            self.is_settled = True

    def _forget(self) -> None:
        self._offset, self._lines, self._seen, self._first = 0, 0, b"", b""

    def _unread(self) -> bytes | None:
        """Return the bytes after the part that was read; None if the file is missing or was emptied."""
        try:
            with open(open_file(self.path, os.O_RDONLY), "rb") as file:
                if self._offset and not os.fstat(file.fileno()).st_size:
                    return None
                first = _first_line(file.fileno())
                file.seek(self._offset - len(self._seen))
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            dirpath = self.path.parent.parent
            if obstacle := obstruction(dirpath):
                raise StoreError(f"{dirpath}: {obstacle}; expected a run directory") from error
            raise StoreError(
                f"{self.path}: the manifest cannot be read: {error.strerror or error}; run `ckpt doctor {dirpath}`"
            ) from error
        if not data.startswith(self._seen) or (self._offset and first not in (b"", self._first)):
            raise JournalReplaced(f"{self.path}: was replaced by another file")
        self._first = first or self._first
        return data[len(self._seen) :]

    def _lines_in(self, data: bytes) -> Iterator[Line]:
        for line in data.split(b"\n")[:-1]:
            self._lines += 1
            if line:
                entry = entry_of(line)
                is_damaged = entry is None
                yield Line(self._lines, list(intact_entries(line)) if is_damaged else [entry], is_damaged)

    def _sync_folders(self) -> None:
        """Make sure that a new file survives a power loss."""
        sync_folder(self.path.parent)
        sync_folder(self.path.parent.parent)
        for folder in self.path.absolute().parents:  # any of them may be new; some may not be accessible
            with contextlib.suppress(OSError):
                sync_folder(folder)


def encoded(entry: Mapping[str, Any]) -> bytes:
    """Return the line of an entry."""
    payload = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def _first_line(descriptor: int) -> bytes:
    """Return the first line of a journal if it is intact and describes the history; otherwise, return no bytes."""
    line = os.pread(descriptor, _LONGEST_FIRST, 0).partition(b"\n")[0]
    entry = entry_of(line) if b'"moved":' in line else None
    return line if isinstance(entry, dict) and "moved" in entry else b""


def entry_of(line: bytes) -> Any:
    """Return the entry of a line; None when it is damaged."""
    try:
        return json.loads(line.partition(b" ")[2]) if is_intact(line) else None
    except ValueError:
        return None


def is_intact(line: bytes) -> bool:
    """Return whether the checksum of a line is that of its entry."""
    check, _, payload = line.partition(b" ")
    return check == b"%08x" % zlib.crc32(payload)


def intact_entries(damaged: bytes) -> Iterator[Any]:
    """Yield the intact entries of a damaged line; a damaged newline joins two."""
    for piece in _HEAD.split(damaged):
        entry = entry_of(piece) or entry_of(piece[:-1])
        if entry is not None:
            yield entry


def mended(damaged: bytes) -> bytes:
    """Return a damaged line with the intact entries in it on lines of their own; the rest is blank.

    The length stays the same, because the journal knows that of the history.
    """
    pieces = []
    for piece in _HEAD.split(damaged):
        if entry_of(piece) is not None:
            pieces.append(piece)
        elif entry_of(piece[:-1]) is not None:
            pieces.append(piece[:-1] + b"\n")
        else:
            pieces.append(b"\n" * len(piece))
    return b"".join(pieces)


def write(path: Path, end: int, lines: bytes, *, like: Path | None = None) -> None:
    """Write ``lines`` after the first ``end`` bytes of a file, durably, or not at all.

    Args:
        path: The file, which is created if it is missing.
        end: Everything after this many bytes is removed.
        lines: The lines.
        like: Another file. Users who may write it can also write this one.
    """
    descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        if like is not None:
            _give_rights(descriptor, os.lstat(like))
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


def replace(path: Path, lines: bytes, *, keep_old: bool) -> None:
    """Replace a file, in one step, with one of these lines. A power loss can still bring back the old one.

    Args:
        path: The file.
        lines: The lines.
        keep_old: Whether to keep the old file next to it.

    Raises:
        OSError: It could not be replaced, or a user who may write the old file could not write the new one.
    """
    draft = free_draft(path.parent, path.stem)
    try:
        write(draft, 0, lines, like=path)
        if keep_old:
            os.link(path, path.with_name(free_name(path.parent, path.name, ".damaged")))
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def _give_rights(descriptor: int, wanted: os.stat_result) -> None:
    """Give a new file the owner and the permissions of another one.

    Raises:
        OSError: This is not possible, so a user who may write the other file could perhaps not write this one.
    """
    found = os.fstat(descriptor)
    if (found.st_uid, found.st_gid) != (wanted.st_uid, wanted.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, wanted.st_uid, wanted.st_gid)
    if stat.S_IMODE(found.st_mode) != stat.S_IMODE(wanted.st_mode):
        os.fchmod(descriptor, stat.S_IMODE(wanted.st_mode))
    found = os.fstat(descriptor)
    by_group = found.st_gid == wanted.st_gid and wanted.st_mode & stat.S_IWGRP
    if found.st_uid != wanted.st_uid and not by_group:
        raise OSError(errno.EPERM, "its owner could no longer write it")
