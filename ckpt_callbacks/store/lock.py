"""File locks that die with their process.

POSIX record locks (`fcntl.lockf`), because data-loader workers are forked: a ``flock`` would live on in them after
the training was killed, and refuse the resumed one. The price is that such a lock does not exclude a second holder in
the same process, and that closing any descriptor of the file drops it; so nothing else opens these files, and a
process-wide table excludes the second holder.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

from ..errors import DirectoryInUse, StoreError

_POLL = 0.05  # seconds between two tries
_held: dict[Path, str] = {}
_held_guard = threading.Lock()


class FileLock:
    """An exclusive lock on ``path``, which is created and never deleted.

    Args:
        path: The lock file. timeout: seconds to wait for another process before `StoreError`.
    """

    def __init__(self, path: Path, timeout: float = 30.0) -> None:
        self.path, self.timeout = path, timeout
        self._guard = threading.RLock()
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free now."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FileLock:
        self._guard.acquire()
        deadline = time.monotonic() + self.timeout
        try:
            while not self.try_acquire():
                if time.monotonic() > deadline:
                    raise StoreError(f"{self.path}: still locked by another process after {self.timeout:g} s")
                time.sleep(_POLL)
        except BaseException:
            self._guard.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._guard.release()


class TrainingLock:
    """Held while a training writes to a directory. A second training is refused with the first one's host and pid.

    Args:
        path: The lock file. owner: a file beside it that says who holds the lock; informative only.
        holder: What people call the holder, such as the callback's class.
    """

    def __init__(self, path: Path, owner: Path, holder: str) -> None:
        self._lock, self._owner, self._holder = FileLock(path), owner, holder
        self._key = path.resolve()

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            DirectoryInUse: another training, or another callback of this process, holds it.
        """
        dirpath = self._key.parent.parent
        with _held_guard:
            if self._key in _held:
                raise DirectoryInUse(
                    f"{dirpath}: {_held[self._key]} and {self._holder} of one process both write here; "
                    "give each callback a directory of its own"
                )
            if not self._lock.try_acquire():
                raise DirectoryInUse(
                    f"{dirpath}: another training writes here ({self._read_owner()}); "
                    "wait until it has ended, or choose another directory"
                )
            _held[self._key] = self._holder
        facts = {"host": socket.gethostname(), "pid": os.getpid(), "holder": self._holder, "since": time.time()}
        self._owner.write_text(json.dumps(facts), encoding="utf-8")

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        with _held_guard:
            if _held.pop(self._key, None) is not None:
                self._lock.release()

    def _read_owner(self) -> str:
        try:
            facts = json.loads(self._owner.read_text(encoding="utf-8"))
            return f"host {facts['host']}, process {facts['pid']}"
        except (OSError, ValueError, KeyError):
            return "host and process unknown"
