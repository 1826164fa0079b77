"""The alignment of storages in a ``.ckpt`` archive."""

from __future__ import annotations

from ...memory.pages import PAGE

LARGE = 64 << 10  # bytes; storages of at least this size begin on a page in the file, for direct I/O
ALIGN = 64  # the alignment of storages in the files of torch


def alignment(size: int) -> int:
    """Return the alignment in bytes of a storage of this size."""
    return PAGE if size >= LARGE else ALIGN
