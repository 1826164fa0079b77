"""Faults in the system calls that Python code makes below one folder, by wrappers around the functions."""

from __future__ import annotations

import builtins
import contextlib
import gc
import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ckpt_callbacks.store import disk_space

CALLS = [
    "open", "write", "writev", "pwrite", "fallocate", "fsync", "rename", "replace", "unlink", "remove",
    "rmdir", "mkdir", "symlink", "link", "ftruncate", "read", "stat", "lstat", "scandir",
]  # fmt: skip
# What changes the disk: a kill before any other call finds the same disk as a kill before the next one of these.
CHANGING = {
    "create", "write", "writev", "pwrite", "fallocate", "fsync", "rename", "replace",
    "unlink", "remove", "rmdir", "mkdir", "symlink", "link", "ftruncate",
}  # fmt: skip
_ELSEWHERE = {"fallocate": disk_space}  # the modules of calls that `os` does not have
_SECTOR = 512  # bytes; direct writes are torn between whole ones

Before = Callable[["Call"], Any]


class Call:
    """One call that is about to happen.

    Attributes:
        number: The number of the call among those below the folder, from 1.
        name: The function; ``create`` for an `open` that may write.
        path: The file or folder.
        data: The bytes of a write.
        torn: A function that carries out the first half of a write.
    """

    def __init__(self, number: int, name: str, path: str, torn: Callable[[], int] | None = None) -> None:
        self.number, self.name, self.path, self.torn = number, name, path, torn

    @property
    def changing(self) -> bool:
        return self.name in CHANGING


class _Short(Exception):
    """An exception with which an action shortens a write."""


@contextlib.contextmanager
def interposed(folder: Path, before: Before) -> Iterator[None]:
    """Call ``before`` before each call below ``folder``, on any thread. An exception in it is raised by the call."""
    below, count, counting = os.path.realpath(folder), 0, threading.Lock()
    originals = {name: getattr(_ELSEWHERE.get(name, os), name) for name in CALLS}

    def path_of(target: Any, dir_fd: int | None) -> str:
        if isinstance(target, int):
            return os.readlink(f"/proc/self/fd/{target}")
        path = os.fspath(target)
        path = os.fsdecode(path)
        return os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd(), path)

    def announce(name: str, target: Any, dir_fd: int | None = None, torn: Callable[[], int] | None = None) -> None:
        nonlocal count
        try:
            path = path_of(target, dir_fd)
        except OSError:
            return
        if os.path.basename(path) == "SAVE_NOW":
            return  # the training thread checks for it by the clock, so the numbers of the calls would differ each time
        if path == below or path.startswith(below + "/"):
            with counting:
                count += 1
                call = Call(count, name, path, torn)
            before(call)

    def wrap(name: str) -> Callable[..., Any]:
        original = originals[name]

        def wrapper(*args: Any, **keywords: Any) -> Any:
            target = args[1] if name in ("symlink", "link") else args[0] if args else "."
            torn = (lambda: original(args[0], _half(args[1]), *args[2:])) if name in ("write", "pwrite") else None
            shown = "create" if name == "open" and args[1] & (os.O_WRONLY | os.O_RDWR) else name
            try:
                announce(shown, target, keywords.get("dir_fd"), torn)
            except _Short:
                return torn()
            return original(*args, **keywords)

        return wrapper

    def opened(file: Any, mode: str = "r", *args: Any, **keywords: Any) -> Any:
        announce("open" if set(mode) <= set("rbt") else "create", file)
        if keywords.get("buffering") == 0:
            return Watched(file, mode)
        return opened_before(file, mode, *args, **keywords)

    class Watched(io.FileIO):
        def readinto(self, buffer: Any) -> int | None:
            announce("read", self.fileno())
            return super().readinto(buffer)

    opened_before, file_before = io.open, io.FileIO
    try:
        for name in CALLS:
            setattr(_ELSEWHERE.get(name, os), name, wrap(name))
        io.open = builtins.open = opened
        io.FileIO = Watched
        yield
    finally:
        for name, original in originals.items():
            setattr(_ELSEWHERE.get(name, os), name, original)
        io.open = builtins.open = opened_before
        io.FileIO = file_before


def _half(data: Any) -> Any:
    half = len(data) // 2
    return data[: half - half % _SECTOR] if half > _SECTOR else data[:half]


def kill_before(number: int, torn: bool = False) -> Before:
    """Return an action that dies before the given call, or, if the call is a write, in the middle of it."""

    def before(call: Call) -> None:
        if call.number == number:
            if torn and call.torn is not None:
                call.torn()
            os.kill(os.getpid(), signal.SIGKILL)

    return before


def fail(number: int, error: int, phase: Callable[[], Any] | None = None) -> Before:
    """Return an action that fails the given call; with ``phase``, all that change the disk until its value changes."""
    begun: list[Any] = []

    def before(call: Call) -> None:
        if call.number == number and phase is not None:
            begun.append(phase())
        if call.number == number or (begun and call.changing and phase() == begun[0]):
            raise OSError(error, os.strerror(error), call.path)

    return before


def shorten(number: int) -> Before:
    """Return an action that makes the given call, a write, write only half of its bytes."""

    def before(call: Call) -> None:
        if call.number == number:
            raise _Short

    return before


def listing(folder: Path, work: Callable[[], Any]) -> list[Call]:
    """Return the calls that ``work`` makes below ``folder``, in this process."""
    calls: list[Call] = []
    with interposed(folder, calls.append):
        work()
    return calls


def in_child(work: Callable[[], Any]) -> int:
    """Do ``work`` in a fork of this process, and return its wait status: 9 if it was killed, 0 if it succeeded."""
    child = os.fork()
    if child == 0:
        gc.freeze()  # to destroy an object of TensorFlow would wait for threads that a fork does not have
        status = 70
        try:
            work()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]
