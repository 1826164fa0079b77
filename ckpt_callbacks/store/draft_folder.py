"""A file that takes the place of another one in one piece, wherever it is: no run directory is needed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from .commit import flush
from .file_lock_calls import LockedFile, lock
from .replacement import swap

_PREFIX = ".ckpt-draft-"  # hidden, and no suffix of a checkpoint, so that no glob of checkpoints finds it
_LOCK = "lock"


class DraftFolder:
    """A hidden folder beside a file, in which the new file is written until it takes the old one's place.

    The folder is deleted at the end of the context. After a crash it stays, and `remove_left` finds it.

    Args:
        target: The file, which may not exist yet. Its folder must exist.

    Attributes:
        path: Where to write the new file.
    """

    path: Path

    def __init__(self, target: Path) -> None:
        self._target = target
        self._lock: LockedFile | None = None

    def __enter__(self) -> DraftFolder:
        if not self._create() and not self._create():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(self.path.parent))
        return self

    def __exit__(self, *_: Any) -> None:
        self._close()

    def commit(self) -> None:
        """Let the new file take the place of the old one, durably, with the old one's permissions.

        Raises:
            OSError: It cannot; the old file is untouched.
        """
        flush(self.path)
        with contextlib.suppress(OSError):
            shutil.copymode(self._target, self.path)
        swap(self.path, self._target)

    def _create(self) -> bool:
        """Create and lock a folder; return False if `remove_left` has found it in between, which then deletes it."""
        folder = self._target.parent / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
        self.path = folder / self._target.name
        folder.mkdir()
        is_there = False
        try:
            with contextlib.suppress(FileNotFoundError):
                self._lock = lock(folder / _LOCK)
            is_there = self._lock is not None and (folder / _LOCK).exists()
        finally:
            if not is_there:
                self._close()
        return is_there

    def _close(self) -> None:
        shutil.rmtree(self.path.parent, ignore_errors=True)
        if self._lock is not None:
            self._lock.unlock()


def remove_left(parent: Path) -> None:
    """Delete the folders that crashed processes have left beside the files that they were writing.

    Args:
        parent: The folder of these files.
    """
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            held = lock(folder / _LOCK)
            if held is None:  # it is being written
                continue
            if held.excludes:
                shutil.rmtree(folder, ignore_errors=True)
            held.unlock()


def can_be_replaced(target: Path) -> bool:
    """Return whether a path names a regular file, or nothing yet; a device or a pipe can only be written to.

    Raises:
        PermissionError: The file is write-protected, which a new file in its place would ignore.
    """
    if not target.is_file():
        return not os.path.lexists(target)
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(target))
    return True
