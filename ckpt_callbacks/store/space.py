"""Asking the disk for the space of a file that is to come, without writing to it."""

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

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def fallocate(file: int, size: int) -> None:
    """Linux' own call. Where the file system has none, `os.posix_fallocate` writes into each of its blocks.

    Raises:
        OSError: there is no such call, the file system does not know it, or the disk has less.
    """
    if _fallocate is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    while _fallocate(file, 0, 0, size):
        if (error := ctypes.get_errno()) != errno.EINTR:
            raise OSError(error, os.strerror(error))


def reserve(file: int, size: int) -> None:
    """Have the disk keep ``size`` bytes for an open, empty file, or at least look whether it has them.

    Raises:
        OSError: it does not.
    """
    try:
        fallocate(file, size)
    except OSError as error:
        require(file, size)  # which tells how much is there
        if error.errno in _FULL:
            raise


def require(where: int | Path, size: int) -> None:
    """Look whether the disk of an open file, or of a path, has ``size`` bytes left.

    Raises:
        OSError: it has less.
    """
    if (left := free(where)) < size:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({size} bytes are needed, {left} are free)")


def free(where: int | Path) -> float:
    """The bytes that the disk of an open file, or of a path, has left; infinitely many where it does not say.

    Raises:
        OSError: it cannot be asked.
    """
    usage = shutil.disk_usage(where)
    # Some file systems say nothing of their size: there are 0 bytes then, and as many free.
    return usage.free if usage.total else math.inf


def _found() -> Callable[[int, int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    # glibc's plain one takes 32 bits on small machines, and musl has no other.
    call = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return cast("Callable[[int, int, int, int], int] | None", call)


_fallocate = _found()
