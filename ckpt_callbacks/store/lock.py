"""The locks of a run directory, which end with their process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from ..errors import DirectoryInUse, StoreError
from .file_lock_calls import LockedFile, is_locked, lock
from .private_files import read_file, write_file

log = logging.getLogger("ckpt_callbacks")

_POLL = 0.05  # seconds between two attempts
_PATIENCE = 30.0  # seconds that a holder waits for a command, such as `ckpt rm`
_guards: dict[Path, threading.Lock] = {}  # one for each lock file, so that threads wait for each other without polling
_held: dict[Path, TrainingLock] = {}
_held_guard = threading.Lock()
_unprotected: set[Path] = set()  # lock files in file systems without locks, about which a line was logged


class FileLock:
    """An exclusive lock on ``path``, which is created and never deleted.

    Args:
        path: The lock file.
        timeout: Seconds to wait for another process or thread before `StoreError`.
    """

    def __init__(self, path: Path, timeout: float = 30.0) -> None:
        self.path, self.timeout = path, timeout
        self._key = real(path)
        self._guard = threading.Lock()
        self._file: LockedFile | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free now."""
        file = lock(self.path)
        if file is None:
            return False
        self._file = file
        return True

    @property
    def excludes(self) -> bool:
        """Whether no other process can take the lock while it is held; False in a file system without locks."""
        return self._file is not None and self._file.excludes

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._file is not None:
            self._file.unlock()
            self._file = None

    def __enter__(self) -> FileLock:
        deadline = time.monotonic() + self.timeout
        guard = _guards.setdefault(self._key, threading.Lock())
        if not guard.acquire(timeout=self.timeout):
            raise StoreError(f"{self.path}: still locked by another thread after {self.timeout:g} s")
        self._guard = guard
        try:
            while not self.try_acquire():
                if time.monotonic() > deadline:
                    raise StoreError(f"{self.path}: still locked by another process after {self.timeout:g} s")
                time.sleep(_POLL)
        except BaseException:
            guard.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._guard.release()


class TrainingLock:
    """The lock of a training run on its directory. The error for a second run names the first one's host and pid.

    Commands hold it as well, for a short time, so a holder waits for them.

    Args:
        path: The lock file.
        owner: A file next to it that names the holder's host and process, for messages, and whether it is a command.
        holder: The holder's name in messages, such as the callback's class, or ``"ckpt rm"``.
        called: Returns the name with what tells it from another holder of that name; None if nothing does.
        may_move: Whether the holder could use another directory instead.
    """

    def __init__(
        self, path: Path, owner: Path, holder: str, called: Callable[[], str] | None = None, *, may_move: bool = True
    ) -> None:
        self._otherwise = ", or choose another directory" if may_move else ""
        self._lock, self._owner, self._holder = FileLock(path), owner, holder
        self._called = called or (lambda: holder)
        self._key = real(path)
        self._dirpath = self._key.parent.parent

    def acquire(self) -> None:
        """Take the lock, once no command holds it.

        Raises:
            DirectoryInUse: Another training run, or another callback of this process, holds it.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            with _held_guard:
                if self._key in _held:
                    raise DirectoryInUse(shared_by(self._dirpath, _held[self._key]._called(), self._called()))
                if self._try_take():
                    _held[self._key] = self
                    return
            owner = _facts_in(self._owner)
            if not _is_command(owner) or time.monotonic() > deadline:
                raise self._refusal(owner)
            time.sleep(_POLL)

    def release(self) -> None:
        """Release the lock, if it is held."""
        with _held_guard:
            if _held.get(self._key) is self:
                del _held[self._key]
                self._lock.release()

    def _take(self) -> None:
        if not self._try_take():
            raise self._refusal(_facts_in(self._owner))

    def _try_take(self) -> bool:
        """Take the lock if it is free now."""
        if not self._lock.try_acquire():
            return False
        if not self._lock.excludes and self._key not in _unprotected:
            _unprotected.add(self._key)
            log.warning(
                "%s: its file system has no locks, so a second training run in this directory would not be noticed; "
                "start only one at a time", self._dirpath,
            )  # fmt: skip
        facts = {"host": socket.gethostname(), "pid": os.getpid(), "holder": self._holder, "since": time.time()}
        try:
            write_file(self._owner, json.dumps(facts).encode())
        except (
            OSError,
            StoreError,
        ):  # it is for information only, and no name is better than that of an earlier training run
            with contextlib.suppress(OSError):
                self._owner.unlink(missing_ok=True)
        return True

    def _refusal(self, owner: Mapping[str, object]) -> DirectoryInUse:
        is_known = "host" in owner and "pid" in owner
        where = f"host {owner['host']}, process {owner['pid']}" if is_known else "host and process unknown"
        who = f"`{owner['holder']}` is at work" if _is_command(owner) else "another training run is writing"
        return DirectoryInUse(f"{self._dirpath}: {who} here ({where}); wait until it has ended{self._otherwise}")


def command_at_work(path: Path, owner: Path) -> str | None:
    """Return the name of the command that holds the lock of a training run, such as ``"ckpt doctor"``, or None.

    Args:
        path: The lock file.
        owner: The file that names the holder.
    """
    facts = _facts_in(owner)
    return str(facts["holder"]) if is_locked(path) and _is_command(facts) else None


def _facts_in(owner: Path) -> Mapping[str, object]:
    """Return what is known about the holder of a lock."""
    try:
        facts = json.loads(read_file(owner))
    except (OSError, StoreError, ValueError):
        return {}
    return facts if isinstance(facts, Mapping) else {}


def _is_command(owner: Mapping[str, object]) -> bool:
    return str(owner.get("holder", "")).startswith("ckpt ")


def shared_by(dirpath: Path, first: str, second: str) -> str:
    """Return the error about two callbacks of one process that write to the same directory."""
    return (
        f"{dirpath}: {first} and {second} in this process both write here; give each callback its own directory, or "
        "join their rules with | in one policy"
    )


def real(path: Path) -> Path:
    """Return the path with links resolved; a loop of links stays, so that opening it fails."""
    return Path(os.path.realpath(path))


def reclaim(path: Path) -> bool:
    """Lock ``path`` again, if a training run of this process held it before the file was deleted.

    Returns:
        False if no training run of this process held it.

    Raises:
        DirectoryInUse: Another training run has taken the directory since.
    """
    with _held_guard:
        training = _held.get(real(path))
        if training is None:
            return False
        training._lock.release()
        training._take()
        return True


def _forget() -> None:
    """Forget, in a forked child, the locks of its parent, and the guards that a thread of its parent may hold."""
    global _held_guard
    _held_guard = threading.Lock()
    _guards.clear()
    _held.clear()


os.register_at_fork(after_in_child=_forget)
