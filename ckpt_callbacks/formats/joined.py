"""Small pieces of a file, joined, because handling a piece takes longer than copying it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_SMALL, _JOINED = 64 << 10, 256 << 10  # bytes


def joined(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the same bytes in the same order, with neighbouring small pieces joined. Large pieces are not copied."""
    small: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        length = len(piece)
        if length < _SMALL:
            small.append(piece)
            size += length
            if size < _JOINED:
                continue
        if small:
            yield b"".join(small)
            small, size = [], 0
        if length >= _SMALL:
            yield piece
    if small:
        yield b"".join(small)
