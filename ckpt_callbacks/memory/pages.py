"""Anonymous memory in whole pages, as reading and writing past the page cache asks for."""

from __future__ import annotations

import contextlib
import mmap
import sys

PAGE = 4096  # bytes; what O_DIRECT asks of addresses, lengths and offsets, as far as disks are in use
HUGE = 2 << 20  # bytes of a huge page on most machines

_WIPEONFORK = 18  # the advice of Linux 4.14 and later; Python 3.11 has no name for it


def fresh(size: int) -> mmap.mmap:
    """New memory of this process alone, zeroed when it is touched.

    Huge pages are asked for: a device reads into them and writes from them at a fifth of the processor's time, and
    faster, because there are 512 times fewer pages to pin.
    """
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
    memory = mmap.mmap(-1, size, **private)
    with contextlib.suppress(OSError, AttributeError, ValueError):  # an advice; not every kernel takes it
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def keep_from_forks(memory: mmap.mmap) -> None:
    """Have forks of this process find zeros there, where the system can.

    Each page that they share would be copied when it is written to again, and the old one be theirs.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, ValueError):
            memory.madvise(_WIPEONFORK)


def rounded(size: int, to: int = PAGE) -> int:
    """The next multiple of ``to`` bytes."""
    return -(-size // to) * to
