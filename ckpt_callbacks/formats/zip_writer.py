"""A writer of zip archives of stored members, in which the large ones are page-aligned.

Source: APPNOTE.TXT, the .ZIP File Format Specification (PKWARE), sections 4.3.7 to 4.3.16, 4.4.4 and 4.5.3.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from ..store.direct_file import DirectFile
from .joined import joined
from .zip_dates import zip_date

__all__ = ["LOCAL_HEADER", "LOCAL_SIGNATURE", "Member", "ZipWriter", "begin_of_data", "crc32", "directory", "timestamp"]

try:  # tens of GB/s; zlib has 3 to 4
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this platform: the same numbers, slower
    from zlib import crc32

_PADDING = 0xD935  # the extra field that Android's zipalign pads with
LOCAL_SIGNATURE = b"PK\3\4"
LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # of a member, before its name; ends with the sizes of name and extra field
_PADDED = struct.Struct("<HHH")  # the beginning of the extra field that pads
_32, _16 = 0xFFFFFFFF, 0xFFFF
_VERSION, _VERSION_64 = 20, 45
_UNIX, _UTF8, _READABLE = 3, 0x800, 0o600 << 16
_FEW = 64 << 10  # bytes
_CRC_FOLLOWS = 0x8  # the flag of a member whose CRC follows its data


class ZipWriter:
    """A writer of one archive, front to back.

    The CRC-32 of a large member follows its data, as in the files of `torch.save`. If it came first, the data would
    have to be read twice, because the digest of the file covers the CRC before the data.

    Args:
        file: The file, still empty.
        timestamp: The time and date of all members; see `timestamp`.
    """

    def __init__(self, file: DirectFile, timestamp: tuple[int, int]) -> None:
        self._file, self._timestamp = file, timestamp
        self._entries: list[bytes] = []
        self._count = 0

    def add_block(self, block: memoryview, entries: bytes, count: int) -> None:
        """Append members whose bytes are already complete.

        Args:
            block: The members.
            entries: Their entries in the directory.
            count: Their number.
        """
        self._file.write(block)
        self._entries.append(entries)
        self._count += count

    def add(self, name: str, pieces: Sequence[bytes | memoryview], align: int = 1) -> None:
        """Append a member.

        Args:
            name: Its name.
            pieces: Its data.
            align: The alignment of its data in bytes.
        """
        size, place, self._count = sum(map(len, pieces)), self._file.position, self._count + 1
        if size < _FEW:  # one write of a copy is faster than several writes
            data = b"".join(pieces)
            member = Member(name, size, crc32(data), place, self._timestamp, align)
            self._file.write(member.header() + data)
            self._entries.append(member.entry())
        else:
            member = Member(name, size, None, place, self._timestamp, align)
            self._entries.append(member.entry(self._write(member, pieces)))

    def finish(self) -> None:
        """Append the directory."""
        self._file.write(directory(b"".join(self._entries), self._count, self._file.position))

    def _write(self, member: Member, pieces: Sequence[bytes | memoryview]) -> int:
        """Write a large member, and return its CRC-32."""
        crc = 0

        def add_to_crc(data: memoryview) -> None:
            nonlocal crc
            crc = crc32(data, crc)

        self._file.write(member.header())
        for piece in joined(pieces):
            self._file.write(piece, add_to_crc)
        self._file.write(member.descriptor(crc))
        return crc


@dataclass(frozen=True)
class Member:
    """A member whose size is known before it is written.

    Attributes:
        name: Its name.
        size: The size of its data in bytes.
        crc: The CRC-32 of its data; None if it follows the data.
        offset: The position of its header in the archive.
        timestamp: Its time and date; see `timestamp`.
        align: Its data begins at a multiple of this number of bytes.
    """

    name: str
    size: int
    crc: int | None
    offset: int
    timestamp: tuple[int, int]
    align: int = 1

    def header(self) -> bytes:
        """Return the bytes before its data."""
        name, flags = self._encoded()
        known = self.size if self.crc is not None else 0
        extra = struct.pack("<HHQQ", 1, 16, known, known) if self.size >= _32 else b""
        if self.align > 1:
            padding = _padding(self.offset, len(name) + len(extra), self.align)
            extra += _PADDED.pack(_PADDING, 2 + padding, self.align) + bytes(padding)
        size = _32 if self.size >= _32 else known
        version = _VERSION_64 if self.size >= _32 else _VERSION
        fixed = (LOCAL_SIGNATURE, version, flags, zipfile.ZIP_STORED, *self.timestamp, self.crc or 0, size, size)
        return LOCAL_HEADER.pack(*fixed, len(name), len(extra)) + name + extra

    @property
    def end(self) -> int:
        """The position after its data."""
        return self.offset + len(self.header()) + self.size

    def descriptor(self, crc: int) -> bytes:
        """Return the bytes that follow its data if its CRC-32 does."""
        return struct.pack("<4sLQQ" if self.size >= _32 else "<4sLLL", b"PK\7\10", crc, self.size, self.size)

    def entry(self, follows: int = 0) -> bytes:
        """Return its entry in the directory.

        Args:
            follows: The CRC-32 that follows its data, if it does.
        """
        name, flags = self._encoded()
        crc = follows if self.crc is None else self.crc
        large = [number for number in (self.size, self.size, self.offset) if number >= _32]
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        version = _VERSION_64 if large else _VERSION
        size = min(self.size, _32)
        fixed = (b"PK\1\2", version, _UNIX, version, flags, zipfile.ZIP_STORED, *self.timestamp, crc, size, size)
        rest = (len(name), len(extra), 0, 0, 0, _READABLE, min(self.offset, _32))
        return struct.pack("<4s2B5H3L5H2L", *fixed, *rest) + name + extra

    def _encoded(self) -> tuple[bytes, int]:
        """Return the bytes of its name, and its flags."""
        return self.name.encode(), (0 if self.name.isascii() else _UTF8) | (_CRC_FOLLOWS if self.crc is None else 0)


def begin_of_data(offset: int, name: str, align: int) -> int:
    """Return the position of a member's data.

    Args:
        offset: The position of its header.
        name: Its name, in ASCII.
        align: Its alignment in bytes, more than 1.
    """
    return offset + LOCAL_HEADER.size + len(name) + _PADDED.size + _padding(offset, len(name), align)


def _padding(offset: int, size: int, align: int) -> int:
    """Return the bytes that align the data behind a header at ``offset``, whose name and other fields have a size."""
    return -(offset + LOCAL_HEADER.size + size + _PADDED.size) % align


def directory(entries: bytes, count: int, start: int) -> bytes:
    """Return the bytes after the last member.

    Args:
        entries: The entries of all members.
        count: The number of members.
        start: The position of the directory in the archive.
    """
    end = b""
    if count >= _16 or start >= _32 or len(entries) >= _32:
        versions = (_VERSION_64, _VERSION_64)
        end += struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, *versions, 0, 0, count, count, len(entries), start)
        end += struct.pack("<4sLQL", b"PK\6\7", 0, start + len(entries), 1)
    counts = (min(count, _16), min(count, _16))
    end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *counts, min(len(entries), _32), min(start, _32), 0)
    return entries + end


def timestamp() -> tuple[int, int]:
    """Return the local time and date in the encoding of zip archives."""
    year, month, day, hour, minute, second = zip_date()
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
