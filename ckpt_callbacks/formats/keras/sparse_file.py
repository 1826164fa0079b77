"""A file in memory whose holes take no space."""

from __future__ import annotations

import io
from typing import Any

from ...memory.pages import PAGE


class SparseFile(io.BytesIO):
    """A file that keeps the pages that were written; everything else reads as zeros.

    It holds what HDF5 writes around the data. It is an `io.BytesIO` in name only, because Keras' store accepts those.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pages: dict[int, bytearray] = {}
        self._position = 0
        self.size = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self.size = self._position if size is None else size
        return self.size

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for start, page, offset, count in _split(self._position, len(view)):
            self._pages.setdefault(page, bytearray(PAGE))[offset : offset + count] = view[start : start + count]
        self._position += len(view)
        self.size = max(self.size, self._position)
        return len(view)

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self.size - self._position)
        return self._read(left if size is None or size < 0 else min(size, left))

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def piece(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``."""
        self._position = start
        return self._read(stop - start)

    def _read(self, count: int) -> bytes:
        found = bytearray(count)
        for start, page, offset, length in _split(self._position, count):
            if (kept := self._pages.get(page)) is not None:
                found[start : start + length] = kept[offset : offset + length]
        self._position += count
        return bytes(found)


def _split(position: int, count: int) -> list[tuple[int, int, int, int]]:
    """Split a range by page; return each piece's offset in the range, page, offset in the page, and length."""
    pieces, start = [], 0
    while start < count:
        page, offset = divmod(position + start, PAGE)
        length = min(PAGE - offset, count - start)
        pieces.append((start, page, offset, length))
        start += length
    return pieces
