"""Blocks of the disk that two files with equal contents share, on file systems that can do that: XFS, btrfs, bcachefs.

The system compares the bytes itself, while nobody can change them. So whatever happens, both files stay as they are.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from .extents import extents, place_of

BLOCK = 4096  # bytes; a range that is shared begins at a multiple of it, and has a multiple of it
_FIDEDUPERANGE = 0xC0189436  # of Linux, on all processors that torch and Keras are built for
_REQUEST = struct.Struct("=QQHHIqQQiI")  # struct file_dedupe_range, with one struct file_dedupe_range_info
_PIECE = 16 << 20  # bytes; the most that btrfs takes at once
_UNABLE = {errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS}

Range = tuple[int, int, int]  # where it begins in the first file and in the second one, and its bytes


def can_share(path: Path) -> bool:
    """Return whether files in the place of this one can share blocks.

    Raises:
        OSError: The file cannot be opened.
    """
    if not sys.platform.startswith("linux"):
        return False
    with path.open("rb") as file:
        try:
            return _shared(file, 0, file, 0, BLOCK) is not None
        except OSError as error:
            return error.errno == errno.EINVAL  # the file system knows the call, but one range twice makes no sense


def share(first: Path, second: Path, ranges: Sequence[Range], may: Callable[[], bool] = lambda: True) -> int:
    """Let the second file use the blocks of the first one, in ranges in which they are equal.

    A range in which they differ is left alone, and so is one that they share already. The bytes are read from the
    device, so that the second file gets no block that is right only in memory, and are not kept there.

    Args:
        first: A file that is not written any more.
        second: Another one, in a place for which `can_share` is true.
        ranges: Where the bytes may be equal. A block that is only partly in a range is left out.
        may: Asked before each piece: whether to go on.

    Returns:
        The number of bytes that they share now, and did not before.

    Raises:
        OSError: A file is gone, the disk is broken, or it cannot share these blocks.
    """
    total = 0
    with first.open("rb") as source, second.open("rb") as target:
        _leave_memory(source, target)
        old, new = extents(source.fileno()), extents(target.fileno())
        for start, place, size in ranges:
            end = start + size - size % BLOCK
            if place_of(old, start) == place_of(new, place) is not None:
                continue
            while start < end and start % BLOCK == place % BLOCK == 0 and may():
                done = _shared(source, start, target, place, min(end - start, _PIECE))
                if not done:  # the bytes differ
                    break
                total, start, place = total + done, start + done, place + done
        _leave_memory(source, target)
    return total


def _leave_memory(*files: BinaryIO) -> None:
    if hasattr(os, "posix_fadvise"):
        for file in files:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _shared(source: BinaryIO, start: int, target: BinaryIO, place: int, size: int) -> int | None:
    """Return how many bytes of a range are shared now; None if the file system knows no such thing."""
    import fcntl  # here, because not every system has it

    request = bytearray(_REQUEST.pack(start, size, 1, 0, 0, target.fileno(), place, 0, 0, 0))
    try:
        fcntl.ioctl(source.fileno(), _FIDEDUPERANGE, request)
    except OSError as error:
        if error.errno in _UNABLE:
            return None
        raise
    done, status = _REQUEST.unpack(request)[7:9]
    if -status in _UNABLE:
        return None
    if status < 0:
        raise OSError(-status, os.strerror(-status), target.name)
    return 0 if status else int(done)
