"""Free disk space, and its reservation before a file is written."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

_BTRFS = 0x9123683E  # as Linux calls it
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a system says of a disk or a quota that is full


def fallocate(file: int, size: int) -> None:
    """Reserve disk space with Linux's own call.

    If the file system does not support it, `os.posix_fallocate` would write into each block instead.

    Raises:
        OSError: There is no such call, the file system does not support it, or the disk has too little space.
    """
    if _fallocate is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    while _fallocate(file, 0, 0, size):
        if (error := ctypes.get_errno()) != errno.EINTR:
            raise OSError(error, os.strerror(error))


def reserve(file: int, size: int) -> None:
    """Reserve ``size`` bytes for an open, empty file; if that is not supported, check that they are free.

    Raises:
        OSError: They are not free.
    """
    if _is_btrfs(file):  # of what is reserved in one piece, nothing is freed before all of it is; see `shared_blocks`
        require(file, size)
        return
    try:
        fallocate(file, size)
    except OSError as error:
        require(file, size)  # its error message has the figures
        if error.errno in FULL:
            raise


def require(where: int | Path, size: int) -> None:
    """Check that the disk of an open file, or of a path, has ``size`` free bytes.

    Raises:
        OSError: It has fewer free bytes.
    """
    if (left := free(where)) < size:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({size} bytes are needed, {left} are free)")


def free(where: int | Path) -> float:
    """Return the free bytes of the disk of an open file, or of a path; infinity if the disk does not report it.

    Raises:
        OSError: The disk cannot be queried.
    """
    usage = shutil.disk_usage(where)
    # Some file systems report a size of 0 bytes instead of their own.
    return usage.free if usage.total else math.inf


def _is_btrfs(file: int) -> bool:
    """Return whether an open file is on btrfs."""
    if _fstatfs is None:
        return False
    facts = ctypes.create_string_buffer(512)  # more than any struct statfs, which begins with the file system's number
    return not _fstatfs(file, facts) and ctypes.c_long.from_buffer(facts).value & 0xFFFFFFFF == _BTRFS


def _found() -> Callable[[int, int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    # glibc's plain call takes 32 bits on small machines, and musl has only the plain one.
    call = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return cast("Callable[[int, int, int, int], int] | None", call)


_fallocate = _found()
_fstatfs = getattr(ctypes.CDLL(None), "fstatfs", None) if sys.platform.startswith("linux") else None
