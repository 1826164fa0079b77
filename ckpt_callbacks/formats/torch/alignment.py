"""The alignment of storages in a ``.ckpt`` archive."""

from __future__ import annotations

from ...memory.pages import PAGE

LARGE = 64 << 10  # bytes; storages of at least this size begin on a page in the file, for direct I/O
ALIGN = 64  # what torch aligns storages to


def alignment(size: int) -> int:
    """Return the number of bytes at a multiple of which a storage of this size begins."""
    return PAGE if size >= LARGE else ALIGN
