"""Locks on files, which this process holds until it unlocks them or ends.

On Linux, these are open-file-description locks, which belong to one opened file. A POSIX record lock belongs to the
process, and the process loses it when it closes any descriptor of the file. A training run that copies its own run
directory would thus lose its lock. The two kinds exclude each other, so earlier versions of this package are excluded
as well. Where only POSIX locks exist, such a copy still releases the lock. Some network file systems have no locks
at all; there, nobody is excluded.

A forked child shares an open-file-description lock, and a data-loader worker may outlive a killed training process.
Therefore each child closes what it inherited, which leaves the parent's lock in place.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import sys
import threading
from pathlib import Path

from .private_files import open_file

_SUPPORTED = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")
_SET: int = getattr(fcntl, "F_OFD_SETLK", 0)
_GET: int = getattr(fcntl, "F_OFD_GETLK", 0)
_FLOCK = struct.Struct("hhqqi0q")  # struct flock: type, whence, start, length, and the holder's process
# The kernel has no such locks, or the file system has none: NFS without lockd, Lustre mounted with noflock.
_NO_LOCKS = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
_BUSY = (BlockingIOError, PermissionError)

_mutex = threading.RLock()  # also held while this process forks, so that a child inherits no file that is not listed
_locked: set[LockedFile] = set()


class LockedFile:
    """A file that this process has locked; see `lock`.

    Args:
        descriptor: The opened file.
        excludes: Whether nobody else can lock it now; False if its file system has no locks.

    Attributes:
        excludes: As given.
    """

    def __init__(self, descriptor: int, excludes: bool) -> None:
        self._descriptor, self.excludes = descriptor, excludes

    def unlock(self) -> None:
        """Release the lock, even if a child of this process still has the file open. Harmless in a forked child."""
        with _mutex:
            if self in _locked:
                _locked.remove(self)
                with contextlib.suppress(OSError):  # closing it is enough, if nobody else has it open
                    _set(self._descriptor, fcntl.F_UNLCK)
                os.close(self._descriptor)


def lock(path: Path) -> LockedFile | None:
    """Lock a file, which is created if it is missing.

    Returns:
        None if it is locked already, by another process or by this one.
    """
    with _mutex:
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        excludes = True
        try:
            _set(descriptor, fcntl.F_WRLCK)
        except BaseException as error:
            excludes = False
            if not (isinstance(error, OSError) and error.errno in _NO_LOCKS):
                os.close(descriptor)
                if isinstance(error, _BUSY):
                    return None
                raise
        _locked.add(file := LockedFile(descriptor, excludes))
        return file


def is_locked(path: Path, *, unknown: bool = False) -> bool:
    """Return whether a file is locked, without locking it.

    Args:
        path: The file.
        unknown: What to return if its file system has no locks.
    """
    try:
        descriptor = open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return _get(descriptor) != fcntl.F_UNLCK
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return unknown
    finally:
        os.close(descriptor)


def _set(descriptor: int, kind: int) -> None:
    """Lock or unlock an opened file as a whole."""
    if _SUPPORTED:
        try:
            fcntl.fcntl(descriptor, _SET, _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0))
            return
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    fcntl.lockf(descriptor, fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _get(descriptor: int) -> int:
    """Return the kind of the lock on an opened file."""
    if _SUPPORTED:
        try:
            return _kind(fcntl.fcntl(descriptor, _GET, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    try:  # the layout of ``struct flock`` differs between systems, so try to take the lock
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except _BUSY:
        return fcntl.F_WRLCK
    fcntl.lockf(descriptor, fcntl.LOCK_UN)
    return fcntl.F_UNLCK


def _kind(flock: bytes) -> int:
    kind: int = _FLOCK.unpack(flock)[0]
    return kind


def _close_inherited() -> None:
    for file in _locked:
        os.close(file._descriptor)
    _locked.clear()
    _mutex.release()


os.register_at_fork(before=_mutex.acquire, after_in_parent=_mutex.release, after_in_child=_close_inherited)
