"""A file object with the bytes of a native file, from whatever form they are stored in."""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

from ...errors import VerifyError
from ...store.digest import named

_PIECE = 4 << 20


class NativeBytes(io.RawIOBase):
    """The native file, read-only.

    Whoever reads it from its beginning to its end, one byte after the other, has its digest compared.

    Args:
        path: The file or the folder that holds the bytes.
        digest: The digest of the native file, as in records.
        size: Its size in bytes.

    Attributes:
        digest: As above.
        size: As above.
    """

    def __init__(self, path: str | os.PathLike[str], digest: str, size: int) -> None:
        super().__init__()
        self._path, self._position = Path(os.fspath(path)), 0
        self.digest, self.size = digest, size
        self._hasher, self._hashed = xxhash.xxh3_128(), 0  # of the bytes at the beginning, and how many these are

    @property
    def name(self) -> str:
        """The path of the file or the folder."""
        return str(self._path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self._path}: cannot seek to {base + offset}; expected at least 0")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view = view[: max(0, min(len(view), self.size - self._position))]
        if len(view):
            self._fill(view, self._position)
            self._compare(view)
        self._position += len(view)
        return len(view)

    def readall(self) -> bytes:
        return self.read(max(0, self.size - self._position)) or b""

    def pieces(self) -> Iterator[memoryview]:
        """Yield all bytes from the position on. Each piece is valid until the next one."""
        buffer = memoryview(bytearray(_PIECE))
        while count := self.readinto(buffer):
            yield buffer[:count]

    @abstractmethod
    def _fill(self, view: memoryview, position: int) -> None:
        """Fill a buffer with the bytes from a position on, of which there are enough.

        Raises:
            VerifyError: They are damaged.
        """

    def _compare(self, view: memoryview) -> None:
        if self._position == 0:
            self._hasher, self._hashed = xxhash.xxh3_128(), 0
        if self._position > self._hashed or self._position + len(view) <= self._hashed:
            return  # something was left out, or these bytes were read before
        self._hasher.update(view[self._hashed - self._position :])
        self._hashed = self._position + len(view)
        if self._hashed == self.size and named(self._hasher) != self.digest:
            raise VerifyError(f"{self._path}: is damaged: its content does not match the digest in it")
