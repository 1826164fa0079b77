"""The reader of compressed checkpoints: a file object with the bytes of the native file."""

from __future__ import annotations

import os
from collections import OrderedDict

from ...errors import Unreadable, VerifyError
from ...store.digest import named
from ..packed.native_bytes import NativeBytes
from .codec import decode
from .container import checksum, read_header, read_index
from .zstd import library

_CACHED = 2  # chunks in memory: loaders go back and forth between the small parts of a file and the large ones


class CompressedFile(NativeBytes):
    """The native file in a compressed one, read-only.

    Each chunk's checksum is compared when it is read.

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
        library()
        super().__init__(path, "", 0)
        self._file = open(path, "rb")  # noqa: SIM115
        try:
            self.header, begin = read_header(self._file, self._path)
            self._places = read_index(self._file, self._path, self.header, begin)
        except BaseException:
            self.close()
            raise
        self.digest, self.size = named(self.header.digest), self.header.size
        self._cache: OrderedDict[int, memoryview] = OrderedDict()

    def close(self) -> None:
        self._file.close()
        super().close()

    def _fill(self, view: memoryview, position: int) -> None:
        filled = 0
        while filled < len(view):
            number, inside = divmod(position + filled, self.header.chunk)
            piece = self._chunk(number)[inside : inside + len(view) - filled]
            view[filled : filled + len(piece)] = piece
            filled += len(piece)

    def _chunk(self, number: int) -> memoryview:
        """Return a chunk of the native file."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        chunk = self._cache[number] = self._decoded(number)
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
