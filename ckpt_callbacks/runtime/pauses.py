"""The pauses of a thread that works in the background."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

_SLICE = 1.0  # seconds between two looks whether the process is about to end


class Pauses:
    """Pauses after each piece of work, so that a thread takes only a part of one core's time in the long run.

    Args:
        factor: The length of a pause, as a multiple of the processor time that the work before it took.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._changed = threading.Condition()
        self._waiting = 0  # how many wait for the thread

    @contextlib.contextmanager
    def after(self, go_on: Callable[[], bool]) -> Iterator[None]:
        """Measure the work of this block, and pause after it while nobody waits for the thread and training goes on.

        Args:
            go_on: Returns whether the thread still has to pause; asked about once a second.
        """
        begin = time.thread_time()
        yield
        end = time.monotonic() + self._factor * (time.thread_time() - begin)
        with self._changed:
            while not self._waiting and go_on() and threading.main_thread().is_alive():
                if (left := end - time.monotonic()) <= 0:
                    break
                self._changed.wait(min(left, _SLICE))

    @contextlib.contextmanager
    def skipped(self) -> Iterator[None]:
        """Let the thread work without pauses during this block, which waits for it."""
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._waiting -= 1
