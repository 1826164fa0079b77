"""The bytes of a native file, by the files that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Axes:
    """The order of the axes of an array in the native file, if it is another one than in the shard.

    Attributes:
        shape: The shape of the array in the shard.
        order: For each axis in the native file, the number of that axis in the shard.
        item: Bytes of one of its numbers.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    item: int

    def native(self, data: bytes) -> memoryview:
        """Return the bytes of an array in the native order.

        Args:
            data: Those in the shard.
        """
        import numpy as np  # here, because most files need no such thing

        array = np.frombuffer(data, np.uint8).reshape((*self.shape, self.item))
        return memoryview(np.ascontiguousarray(array.transpose((*self.order, len(self.shape))))).cast("B")


@dataclass(frozen=True)
class Piece:
    """Consecutive bytes of the native file, all of which are in one file of the folder.

    Attributes:
        start: Where they begin in the native file.
        length: Their number.
        file: The name of the file in the folder.
        offset: Where they begin in that file.
        axes: How they are ordered there; None if as in the native file.
    """

    start: int
    length: int
    file: str
    offset: int
    axes: Axes | None = None

    @property
    def stop(self) -> int:
        """Where they end in the native file."""
        return self.start + self.length

    def to_json(self) -> list[Any]:
        """Return plain JSON values, which `from_json` reads back."""
        axes = [] if self.axes is None else [[list(self.axes.shape), list(self.axes.order), self.axes.item]]
        return [self.start, self.length, self.file, self.offset, *axes]

    @classmethod
    def from_json(cls, found: list[Any]) -> Piece:
        """Return the piece that `to_json` described."""
        start, length, file, offset, *rest = found
        axes = Axes(tuple(rest[0][0]), tuple(rest[0][1]), rest[0][2]) if rest else None
        return cls(start, length, file, offset, axes)


def without_overlaps(pieces: Iterable[Piece]) -> list[Piece]:
    """Return pieces in the order of the native file, without those whose bytes another one has."""
    kept: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: (piece.start, -piece.length)):
        if piece.length and (not kept or piece.start >= kept[-1].stop):
            kept.append(piece)
    return kept


def gaps(pieces: Iterable[Piece], size: int) -> Iterator[tuple[int, int]]:
    """Yield where bytes of the native file begin that no piece holds, and where they end.

    Args:
        pieces: The pieces, in order, without overlaps.
        size: The size of the native file.
    """
    at = 0
    for piece in pieces:
        if at < piece.start:
            yield at, piece.start
        at = piece.stop
    if at < size:
        yield at, size
