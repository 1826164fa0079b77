"""The reader of compressed checkpoints: a file object with the bytes of the native file."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import xxhash

from ...errors import Unreadable, VerifyError
from .codec import decode
from .container import checksum, read_header, read_index
from .zstd import library

_CACHED = 2  # chunks in memory: loaders go back and forth between the small parts of a file and the large ones


class CompressedFile(io.RawIOBase):
    """The native file in a compressed one, read-only.

    Each chunk's checksum is compared when it is read. Whoever reads all chunks one after the other also has the digest
    of the native file compared.

    Args:
        path: The compressed file.

    Attributes:
        header: What the file says about itself.

    Raises:
        OSError: It cannot be opened.
        MissingDependency: The library that decompresses it is not installed.
        VerifyError: It is damaged, was cut short, or was written by a newer version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        library()
        self._path, self._position = Path(os.fspath(path)), 0
        self._file = open(path, "rb")  # noqa: SIM115
        try:
            self.header, begin = read_header(self._file, self._path)
            self._places = read_index(self._file, self._path, self.header, begin)
        except BaseException:
            self.close()
            raise
        self._cache: OrderedDict[int, memoryview] = OrderedDict()
        self._hasher, self._next = xxhash.xxh3_128(), 0  # the chunk that continues the digest

    @property
    def name(self) -> str:
        """The path of the compressed file."""
        return str(self._path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.header.size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self._path}: cannot seek to {base + offset}; expected at least 0")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        filled, most = 0, min(len(view), max(0, self.header.size - self._position))
        while filled < most:
            number, inside = divmod(self._position, self.header.chunk)
            piece = self._chunk(number)[inside : inside + most - filled]
            view[filled : filled + len(piece)] = piece
            filled, self._position = filled + len(piece), self._position + len(piece)
        return filled

    def readall(self) -> bytes:
        return self.read(max(0, self.header.size - self._position)) or b""

    def close(self) -> None:
        self._file.close()
        super().close()

    def _chunk(self, number: int) -> memoryview:
        """Return a chunk of the native file."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        chunk = self._decoded(number)
        if number == self._next:
            self._hasher.update(chunk)
            if number + 1 == len(self._places) and self._hasher.digest() != self.header.digest:
                raise VerifyError(f"{self._path}: is damaged: its content does not match the digest in it")
            self._next += 1
        self._cache[number] = chunk
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return chunk

    def _decoded(self, number: int) -> memoryview:
        place, header = self._places[number], self.header
        try:
            self._file.seek(place.start)
            payload = self._file.read(place.length)
        except OSError as error:
            raise Unreadable(f"{self._path}: cannot be read: {error.strerror or error}") from error
        if len(payload) != place.length or checksum(payload) != place.checksum:
            raise VerifyError(
                f"{self._path}: is damaged: chunk {number + 1} of {len(self._places)} does not match its checksum"
            )
        size = min(header.chunk, header.size - number * header.chunk)
        try:
            return decode(memoryview(payload), size)
        except ValueError as error:
            raise VerifyError(f"{self._path}: chunk {number + 1} cannot be decompressed: {error}") from error
