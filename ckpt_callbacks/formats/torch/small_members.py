"""The small storages of a file, in one block of memory that has the layout of the file.

Otherwise, a thousand small members would take a thousand headers, writes and entries at each save, all with the
interpreter's lock held. Here, only their checksums are computed at each save.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ..zip_writer import Member, begin_of_data, crc32

_CRC_IN_HEADER, _CRC_IN_ENTRY = 14, 16  # positions; see `zip_writer`
_CRC = struct.Struct("<L")


class SmallMembers:
    """The members for small storages, which come first in an archive, one after another.

    Args:
        names: Their names.
        sizes: The sizes of their data in bytes.
        timestamp: The time and date of all members; see `zip_writer.timestamp`.
        align: The alignment of their data in bytes.

    Attributes:
        size: The size of the block in bytes.
        count: The number of members.
    """

    def __init__(
        self, names: Sequence[str] = (), sizes: Sequence[int] = (), timestamp: tuple[int, int] = (0, 0), align: int = 1
    ) -> None:
        self.count, self.size = len(names), 0
        self._names, self._timestamp, self._align = names, timestamp, align
        self._spans: list[tuple[int, int]] = []
        for name, size in zip(names, sizes, strict=True):
            begin = begin_of_data(self.size, name, align)
            self.size = begin + size
            self._spans.append((begin, self.size))
        self._headers: list[tuple[int, bytearray]] = []
        self._entries, self._lengths = b"", list[int]()

    @property
    def begins(self) -> list[int]:
        """Where each storage begins in the block."""
        return [begin for begin, _ in self._spans]

    def places_in(self, block: memoryview) -> list[memoryview]:
        """Return the place of each storage in a block of memory."""
        return [block[begin:end] for begin, end in self._spans]

    def seal(self, block: memoryview) -> bytes:
        """Write the headers into a block that holds the storages.

        Returns:
            The entries for the archive's directory.
        """
        if len(self._headers) < self.count:  # here, because this is the thread that writes
            self._make()
        entries, position = bytearray(self._entries), 0
        for (begin, end), (offset, header), length in zip(self._spans, self._headers, self._lengths, strict=True):
            crc = crc32(block[begin:end])
            _CRC.pack_into(header, _CRC_IN_HEADER, crc)
            block[offset:begin] = header
            _CRC.pack_into(entries, position + _CRC_IN_ENTRY, crc)
            position += length
        return bytes(entries)

    def _make(self) -> None:
        """Make the headers and the entries, without checksums."""
        offsets = [0, *(end for _, end in self._spans)]
        members = [
            Member(name, end - begin, 0, offset, self._timestamp, self._align)
            for name, offset, (begin, end) in zip(self._names, offsets, self._spans, strict=False)
        ]
        entries = [member.entry() for member in members]
        self._entries, self._lengths = b"".join(entries), list(map(len, entries))
        self._headers = [(member.offset, bytearray(member.header())) for member in members]
