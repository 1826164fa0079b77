"""The history: the records that have left the journal, which would otherwise grow with each deleted checkpoint.

The journal says how many bytes of the history are valid. A crash while records are moved leaves further bytes. They are
ignored and later overwritten, because their records are still in the journal. So no record is lost or counted twice.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..record import Record, Status
from .commit import sync_folder
from .journal import encoded, entry_of, intact_entries, is_intact, mended, replace, write
from .layout import Layout
from .private_files import open_file

_PIECE = 8 << 20  # bytes that are searched at once


@dataclass(frozen=True)
class Moved:
    """The records that have left the journal, as the first line of the journal describes them.

    Attributes:
        deleted: How many of them were deleted.
        failed: How many of them had failed.
        size: The number of valid bytes of the history. None if the journal does not say: either nothing was moved yet,
            or a version of this package that does not know the history has rewritten the journal. All bytes are then
            valid.
    """

    deleted: int = 0
    failed: int = 0
    size: int | None = None

    @property
    def count(self) -> int:
        """How many records have left the journal."""
        return self.deleted + self.failed

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Moved:
        """Return what `entry` described as ``moved``."""
        return cls(int(facts["deleted"]), int(facts["failed"]), int(facts["size"]))

    def entry(self, highest: int) -> dict[str, Any]:
        """Return the entry for the journal, as plain JSON values; ``highest`` is the highest id that was used."""
        return {"id": highest, "set": {}, "moved": asdict(self)}


class History:
    """The history of a run directory. Only the holder of the training lock appends to it.

    Args:
        layout: The paths of the directory.

    Attributes:
        path: The file, which need not exist.
        moved: What the journal says about it.
    """

    def __init__(self, layout: Layout) -> None:
        self.path, self._dirpath, self.moved = layout.history, layout.dirpath, Moved()

    def recounted(self, kept: Collection[int]) -> tuple[Moved, int]:
        """Return what the journal must say if it says nothing yet or its line is lost, and the highest id of a record.

        Args:
            kept: The ids that the journal still has. Their records do not count, although a crash may have left them
                here as well.
        """
        found = {(record.run, record.id): record.status is Status.FAILED for record in self.read()}
        size = sum(map(len, self._pieces()))  # without a torn last line, which the next append overwrites
        counted = [has_failed for (_, id_), has_failed in found.items() if id_ not in kept]
        failed = sum(counted)
        return Moved(len(counted) - failed, failed, size), max((id_ for _, id_ in found), default=0)

    def append(self, records: Collection[Record], like: Path) -> Moved:
        """Append records durably after the valid bytes.

        Args:
            records: The records.
            like: The journal. Users who may write it can also write the history.

        Returns:
            What the journal must say now. Until it does, the appended records are not valid.
        """
        moved, found = self.moved, self._size()
        lines = b"".join(encoded({"record": record.to_json()}) for record in records)
        end = min(moved.size or 0, found or 0)
        if end != moved.size and end:  # its end was lost, perhaps in the middle of a line
            lines = b"\n" + lines
        write(self.path, end, lines, like=like if found is None else None)
        if found is None:
            sync_folder(self.path.parent)
        failed = sum(record.status is Status.FAILED for record in records)
        return Moved(moved.deleted + len(records) - failed, moved.failed + failed, end + len(lines))

    def read(self) -> Iterator[Record]:
        """Yield all valid records in the order in which they were moved. Of damaged lines, only intact entries count.

        Raises:
            OSError: It cannot be read.
        """
        for piece in self._pieces():
            for line in piece.split(b"\n"):
                yield from self._record(line)

    def search(self, fact: str, values: Iterable[Any]) -> list[Record]:
        """Return the valid records in which a fact has one of these values.

        Only their lines are decoded, so this takes a second for a million records.

        Args:
            fact: A fact with a plain value, such as ``"id"``.
            values: The values to search for.

        Raises:
            OSError: It cannot be read.
        """
        wanted = {b'"%s":%s,' % (fact.encode(), json.dumps(value).encode()): value for value in values}
        found = []
        for piece in self._pieces() if wanted else ():
            for text, value in wanted.items():
                at = piece.find(text)
                while at >= 0:
                    start, end = piece.rfind(b"\n", 0, at) + 1, piece.find(b"\n", at)
                    found += [record for record in self._record(piece[start:end]) if getattr(record, fact) == value]
                    at = piece.find(text, end)
        return found

    def newest(self, ids: Collection[int]) -> dict[int, Record]:
        """Return the valid records with these ids by id, each as it was moved last.

        Raises:
            StoreError: It cannot be read.
        """
        try:
            return {record.id: record for record in self.search("id", ids)}
        except OSError as error:
            raise StoreError(
                f"{self.path}: the history cannot be read: {error.strerror or error}; make it readable, or move it "
                "away to go on without the records of deleted checkpoints"
            ) from error

    def damaged(self) -> list[tuple[int, bytes]]:
        """Return the damaged ones of the valid lines, and where in the file each of them begins.

        Raises:
            OSError: It cannot be read.
        """
        found: list[tuple[int, bytes]] = []
        place = 0
        for piece in self._pieces():
            for line in piece.split(b"\n")[:-1]:
                if line and not is_intact(line):
                    found.append((place, line))
                place += len(line) + 1
        return found

    def mend(self) -> None:
        """Replace the file, in one step, with one without damaged lines, and keep the old one next to it.

        Raises:
            OSError: It could not be replaced.
        """
        with open(open_file(self.path, os.O_RDONLY), "rb") as file:
            content = bytearray(file.read())
        for place, line in self.damaged():
            content[place : place + len(line)] = mended(line)
        replace(self.path, bytes(content), keep_old=True)
        sync_folder(self.path.parent)

    def _size(self) -> int | None:
        """Return the size of the file; None if there is none."""
        try:
            return self.path.lstat().st_size
        except FileNotFoundError:
            return None

    def _pieces(self) -> Iterator[bytes]:
        """Yield the valid bytes in pieces of whole lines."""
        try:
            descriptor = open_file(self.path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return
        with open(descriptor, "rb") as file:
            left = os.fstat(file.fileno()).st_size if self.moved.size is None else self.moved.size
            rest = b""
            while left > 0 and (data := file.read(min(_PIECE, left))):
                left -= len(data)
                data = rest + data
                end = data.rfind(b"\n") + 1
                rest = data[end:]
                if end:
                    yield data[:end]
            if (
                rest and self.moved.size is not None
            ):  # whole lines are valid, so that a newline is damaged, or the end lost
                yield rest + b"\n"

    def _record(self, line: bytes) -> Iterator[Record]:
        """Yield the record of a line; of a damaged one, those that are intact in it."""
        entry = entry_of(line)
        for each in intact_entries(line) if entry is None else [entry]:
            with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):  # a newer version wrote it
                if isinstance(each, dict) and "record" in each:
                    # Whatever the entry says: a record moves only once its file is gone.
                    yield Record.from_json(each["record"], str(self._dirpath)).replace(absent=True)
