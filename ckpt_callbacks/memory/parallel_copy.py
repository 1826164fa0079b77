"""Copies and first writes to memory by several threads together."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial

_CHUNK = 8 << 20  # bytes; the last thread waits for the others to finish one of these
_ALONE = 32 << 20  # bytes that are copied faster than a thread starts
_POPULATE_WRITE = 23  # `madvise` advice of Linux 5.14 and later
_THREADS = 4  # more threads do not make copying faster on most machines

# The target address, the source address, and the number of bytes.
Copy = tuple[int, int, int]


def copy_memory(copies: Sequence[Copy]) -> None:
    """Make all copies, on the calling thread and, if there is much to copy, on a few more.

    One core alone gets half of the memory's speed, or less, and even less if it writes to untouched pages. Each
    free thread takes the next piece, so a thread whose core is busy delays the others by at most one piece. The
    interpreter's lock is held only briefly.

    Args:
        copies: The copies. No memory may change or move in the meantime, and no two targets overlap.
    """
    _share([partial(ctypes.memmove, *piece) for piece in _pieces(copies)], sum(size for _, _, size in copies))


def populate(address: int, size: int) -> None:
    """Touch all pages of memory on as many threads as `copy_memory`, without a change; only on Linux 5.14 or later."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no such function in the C library
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        pieces = _pieces([(address, address, size)])
        _share([partial(advise, into, count, _POPULATE_WRITE) for into, _, count in pieces], size)


def _share(jobs: Sequence[Callable[[], object]], size: int) -> None:
    """Do all jobs, which fill ``size`` bytes in total."""
    left = iter(jobs)  # shared: each job goes to one thread

    def work() -> None:
        for job in left:
            job()

    helpers: list[_Helper] = []
    try:
        if size > _ALONE:
            with contextlib.suppress(RuntimeError):  # no more threads can be started
                for _ in range(min(_cores(), _THREADS, len(jobs)) - 1):
                    helpers.append(_Helper(work))
        work()
    finally:
        for helper in helpers:
            helper.stop()


class _Helper:
    """A thread that does some work, unless all of it is done before the thread begins.

    `threading.Thread` waits until a new thread has begun, which takes milliseconds if all cores are busy.

    Args:
        work: The work.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work, self._begun, self._done = work, threading.Lock(), threading.Lock()
        self._done.acquire()
        _thread.start_new_thread(self._run, ())

    def stop(self) -> None:
        """Wait for the thread if it has begun; otherwise, it will do nothing."""
        if not self._begun.acquire(blocking=False):
            self._done.acquire()

    def _run(self) -> None:
        if self._begun.acquire(blocking=False):
            try:
                self._work()
            finally:
                self._done.release()


def _pieces(copies: Sequence[Copy]) -> Iterator[Copy]:
    for into, source, size in copies:
        for start in range(0, size, _CHUNK):
            yield into + start, source + start, min(_CHUNK, size - start)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
