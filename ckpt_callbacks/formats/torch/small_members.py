"""The small storages of a file, in one block of memory that has the layout of the file.

Otherwise, a thousand small members would take a thousand headers, writes and entries at each save, all with the
interpreter's lock held. Here, only their checksums are computed at each save.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ..zip_writer import Member, crc32

_CRC_IN_HEADER, _CRC_IN_ENTRY = 14, 16  # positions; see `zip_writer`
_CRC = struct.Struct("<L")


class SmallMembers:
    """The members for small storages, which come first in an archive.

    Args:
        members: The members, one after another from the beginning of the archive. Their checksums are ignored.

    Attributes:
        size: The size of the block in bytes.
        count: The number of members.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.count = len(members)
        self._headers = [(member.offset, bytearray(member.header())) for member in members]
        begins = [offset + len(header) for offset, header in self._headers]
        self._spans = [(begin, begin + member.size) for begin, member in zip(begins, members, strict=True)]
        self.size = self._spans[-1][1] if self._spans else 0
        self._members = members
        self._entries, self._lengths = b"", list[int]()

    def places_in(self, block: memoryview) -> list[memoryview]:
        """Return the place of each storage in a block of memory."""
        return [block[begin:end] for begin, end in self._spans]

    def seal(self, block: memoryview) -> bytes:
        """Write the headers into a block that holds the storages.

        Returns:
            The entries for the archive's directory.
        """
        if self.count and not self._entries:  # here, because this is the thread that writes
            made = [member.entry() for member in self._members]
            self._entries, self._lengths = b"".join(made), list(map(len, made))
        entries, position = bytearray(self._entries), 0
        for (begin, end), (offset, header), length in zip(self._spans, self._headers, self._lengths, strict=True):
            crc = crc32(block[begin:end])
            _CRC.pack_into(header, _CRC_IN_HEADER, crc)
            block[offset:begin] = header
            _CRC.pack_into(entries, position + _CRC_IN_ENTRY, crc)
            position += length
        return bytes(entries)
