"""The headers and the directory of a zip archive of stored members, in which the large ones are page-aligned.

Source: APPNOTE.TXT, the .ZIP File Format Specification (PKWARE), sections 4.3.7 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from .zip_dates import zip_date

try:  # tens of GB/s; zlib has 3 to 4
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this platform: the same numbers, slower
    from zlib import crc32

__all__ = ["LOCAL_HEADER", "LOCAL_SIGNATURE", "Member", "crc32", "directory", "timestamp"]

_PADDING = 0xD935  # the extra field that Android's zipalign pads with
LOCAL_SIGNATURE = b"PK\3\4"
LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # of a member, before its name; ends with the sizes of name and extra field
_32, _16 = 0xFFFFFFFF, 0xFFFF
_VERSION, _VERSION_64 = 20, 45
_UNIX, _UTF8, _READABLE = 3, 0x800, 0o600 << 16


@dataclass(frozen=True)
class Member:
    """A member whose size and CRC-32 are known before it is written.

    Attributes:
        name: Its name.
        size: The size of its data in bytes.
        crc: The CRC-32 of its data.
        offset: The position of its header in the archive.
        timestamp: Its time and date; see `timestamp`.
        align: Its data begins at a multiple of this number of bytes.
    """

    name: str
    size: int
    crc: int
    offset: int
    timestamp: tuple[int, int]
    align: int = 1

    def header(self) -> bytes:
        """Return the bytes before its data."""
        name, flags = _encoded(self.name)
        extra = struct.pack("<HHQQ", 1, 16, self.size, self.size) if self.size >= _32 else b""
        if self.align > 1:
            begun = self.offset + LOCAL_HEADER.size + len(name) + len(extra) + 6
            padding = -begun % self.align
            extra += struct.pack("<HHH", _PADDING, 2 + padding, self.align) + bytes(padding)
        size = min(self.size, _32)
        version = _VERSION_64 if self.size >= _32 else _VERSION
        fixed = (LOCAL_SIGNATURE, version, flags, zipfile.ZIP_STORED, *self.timestamp, self.crc, size, size)
        return LOCAL_HEADER.pack(*fixed, len(name), len(extra)) + name + extra

    @property
    def end(self) -> int:
        """The position after its data."""
        return self.offset + len(self.header()) + self.size

    def entry(self) -> bytes:
        """Return its entry in the directory."""
        name, flags = _encoded(self.name)
        large = [number for number in (self.size, self.size, self.offset) if number >= _32]
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        version = _VERSION_64 if large else _VERSION
        size = min(self.size, _32)
        fixed = (b"PK\1\2", version, _UNIX, version, flags, zipfile.ZIP_STORED, *self.timestamp, self.crc, size, size)
        rest = (len(name), len(extra), 0, 0, 0, _READABLE, min(self.offset, _32))
        return struct.pack("<4s2B5H3L5H2L", *fixed, *rest) + name + extra


def directory(members: Sequence[Member], earlier: bytes = b"", earlier_count: int = 0) -> bytes:
    """Return the bytes after the last member.

    Args:
        members: The members; at least one.
        earlier: The entries of the members before them.
        earlier_count: The number of these entries.
    """
    start = members[-1].end
    entries = earlier + b"".join(member.entry() for member in members)
    count = earlier_count + len(members)
    end = b""
    if count >= _16 or start >= _32 or len(entries) >= _32:
        versions = (_VERSION_64, _VERSION_64)
        end += struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, *versions, 0, 0, count, count, len(entries), start)
        end += struct.pack("<4sLQL", b"PK\6\7", 0, start + len(entries), 1)
    counts = (min(count, _16), min(count, _16))
    end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *counts, min(len(entries), _32), min(start, _32), 0)
    return entries + end


def _encoded(name: str) -> tuple[bytes, int]:
    """Return the bytes of a name, and the flag for their encoding."""
    return (name.encode(), 0) if name.isascii() else (name.encode(), _UTF8)


def timestamp() -> tuple[int, int]:
    """Return the local time and date in the encoding of zip archives."""
    year, month, day, hour, minute, second = zip_date()
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
