"""The reader of checkpoints that are split into shards: a file object with the bytes of the native file."""

from __future__ import annotations

import os
from bisect import bisect_right
from pathlib import Path

from ...errors import Unreadable, VerifyError
from ..packed.native_bytes import NativeBytes
from .header import read_header
from .pieces import Piece


class SplitFile(NativeBytes):
    """The native file of a folder of shards, read-only.

    Args:
        path: The folder.

    Attributes:
        header: What the folder says about itself.

    Raises:
        VerifyError: A file is missing or was cut short, or the folder was written by a newer version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.header = header = read_header(Path(path))
        super().__init__(path, header.digest, header.size)
        self._starts = [piece.start for piece in header.pieces]
        self._opened: tuple[str, int] | None = None  # the name of the file that was read last, and its descriptor
        self._reordered: tuple[Piece, memoryview] | None = None  # the last array whose axes have another order there
        for name, (size, _) in header.files.items():
            self._require(name, size)

    def close(self) -> None:
        if self._opened is not None:
            os.close(self._opened[1])
            self._opened = None
        super().close()

    def _fill(self, view: memoryview, position: int) -> None:
        filled, number = 0, bisect_right(self._starts, position) - 1
        while filled < len(view):
            piece = self.header.pieces[number]
            inside = position + filled - piece.start
            part = view[filled : filled + piece.length - inside]
            if piece.axes is None:
                self._read(piece.file, part, piece.offset + inside)
            else:
                part[:] = self._native(piece)[inside : inside + len(part)]
            filled, number = filled + len(part), number + 1

    def _native(self, piece: Piece) -> memoryview:
        """Return the bytes of an array in the order of the native file."""
        assert piece.axes is not None
        if self._reordered is None or self._reordered[0] is not piece:
            data = bytearray(piece.length)
            self._read(piece.file, memoryview(data), piece.offset)
            self._reordered = piece, piece.axes.native(bytes(data))
        return self._reordered[1]

    def _read(self, name: str, view: memoryview, offset: int) -> None:
        descriptor = self._descriptor(name)
        while len(view):
            try:
                count = os.preadv(descriptor, [view], offset)
            except OSError as error:
                raise Unreadable(f"{self._path / name}: cannot be read: {error.strerror or error}") from error
            if not count:
                raise VerifyError(f"{self._path / name}: was cut short")
            view, offset = view[count:], offset + count

    def _descriptor(self, name: str) -> int:
        if self._opened is None or self._opened[0] != name:
            if self._opened is not None:
                os.close(self._opened[1])
                self._opened = None
            try:
                self._opened = name, os.open(self._path / name, os.O_RDONLY)
            except OSError as error:
                raise Unreadable(f"{self._path / name}: cannot be read: {error.strerror or error}") from error
        return self._opened[1]

    def _require(self, name: str, size: int) -> None:
        """Raise `VerifyError` unless a file is there with its size."""
        try:
            found = os.stat(self._path / name).st_size
        except FileNotFoundError:
            raise VerifyError(f"{self._path}: lacks {name}") from None
        except OSError as error:
            raise Unreadable(f"{self._path / name}: cannot be read: {error.strerror or error}") from error
        if found != size:
            raise VerifyError(f"{self._path / name}: has {found} bytes; expected {size}")
