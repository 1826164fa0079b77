"""The places of files on a device, by which one sees which blocks they share.

Source: Documentation/filesystems/fiemap.rst of Linux.
"""

from __future__ import annotations

import contextlib
import os
import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_FIEMAP = 0xC020660B  # FS_IOC_FIEMAP
_HEAD, _EXTENT = struct.Struct("=QQLLLL"), struct.Struct("=QQQ16xL12x")
_AT_ONCE = 512  # extents
_LAST, _ABSENT, _SHARED = 0x1, 0x2 | 0x4 | 0x800, 0x2000  # FIEMAP_EXTENT_*: the last; nothing on the disk; shared


@dataclass(frozen=True)
class DiskExtent:
    """Bytes of a file that lie next to each other on the device.

    Attributes:
        start: The first of them in the file.
        place: Where that one is on the device.
        length: Their number.
        is_shared: Whether another file, or another part of this one, holds them as well.
    """

    start: int
    place: int
    length: int
    is_shared: bool


def extents(file: int) -> list[DiskExtent]:
    """Return where the bytes of an open file are on the device; none if the system does not say so."""
    found: list[DiskExtent] = []
    start, flags = 0, 0
    while not flags & _LAST:
        asked = bytearray(_HEAD.size + _AT_ONCE * _EXTENT.size)
        _HEAD.pack_into(asked, 0, start, (1 << 63) - 1 - start, 0, 0, _AT_ONCE, 0)
        try:
            import fcntl  # here, because not every system has it

            fcntl.ioctl(file, _FIEMAP, asked)
        except (ImportError, OSError):
            return []
        count, flags = _HEAD.unpack_from(asked)[3], _LAST
        for number in range(count):
            begin, place, length, flags = _EXTENT.unpack_from(asked, _HEAD.size + number * _EXTENT.size)
            start = begin + length
            if not flags & _ABSENT:
                found.append(DiskExtent(begin, place, length, bool(flags & _SHARED)))
    return found


def place_of(found: Sequence[DiskExtent], start: int) -> int | None:
    """Return where a byte of a file is on the device; None if that is not known.

    Args:
        found: All extents of the file.
        start: The place of the byte in the file.
    """
    number = bisect_right(found, start, key=lambda extent: extent.start) - 1
    if number < 0 or start >= found[number].start + found[number].length:
        return None
    return found[number].place + start - found[number].start


def saved_bytes(paths: Iterable[Path]) -> int:
    """Return by how much the room that files take together is smaller than their sizes, because they share blocks."""
    spans: list[tuple[int, int]] = []
    for path in paths:
        with contextlib.suppress(OSError):
            file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            try:
                spans += [(extent.place, extent.place + extent.length) for extent in extents(file) if extent.is_shared]
            finally:
                os.close(file)
    saved = end = 0
    for begin, stop in sorted(spans):
        saved += max(0, min(stop, end) - begin)
        end = max(end, stop)
    return saved
