"""The limits of memory and disk: memory that is already mapped, and a plain write past the page cache."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

PIECE = 8 * 2**20


def warm_memory(size: int) -> mmap.mmap:
    """Return at least ``size`` bytes of memory, touched, and in huge pages if the system provides them."""
    memory = mmap.mmap(-1, -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    for start in range(0, len(memory), mmap.PAGESIZE):
        memory[start] = 1
    return memory


class RawFile:
    """A file as large as a state, written past the page cache. No save to this disk can be faster.

    If the file system refuses ``O_DIRECT``, the bytes go through the page cache.
    """

    def __init__(self, size: int) -> None:
        self._memory = warm_memory(size)

    def write(self, path: Path) -> None:
        """Write the file next to ``path``, force it to the disk and rename it."""
        staged = path.with_suffix(".staged")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            descriptor = os.open(staged, flags | getattr(os, "O_DIRECT", 0))
        except OSError:
            descriptor = os.open(staged, flags)
        view = memoryview(self._memory)
        try:
            for start in range(0, len(self._memory), PIECE):
                os.pwrite(descriptor, view[start : start + PIECE], start)
            os.fsync(descriptor)
        finally:
            view.release()
            os.close(descriptor)
        os.replace(staged, path)
