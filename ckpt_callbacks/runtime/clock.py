"""The clocks, which the engine never reads itself, and an alarm on one of them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

_LINGERS = 10.0  # seconds for which the thread waits to be set again


class Clock:
    """The machine's clocks. `ckpt_callbacks.testing.FakeClock` replaces it in tests."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return time.monotonic()

    def wall(self) -> float:
        """Return UTC seconds since 1970."""
        return time.time()

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """Return an alarm that calls ``ring`` at the time of `monotonic` that it is set to."""
        return Alarm(self.monotonic, ring)


class Alarm:
    """A thread that sleeps until a given time and then calls a function.

    Reading the time would cost more per training step than everything else that a callback does in it.

    Args:
        now: Returns seconds that never go backwards.
        ring: Called on the thread. It must not block. The call may come late, and may come once too often just after a
            later time was set.
    """

    def __init__(self, now: Callable[[], float], ring: Callable[[], None]) -> None:
        self._now, self._ring = now, ring
        self._lock = threading.RLock()  # not the condition's `with`: Ctrl-C in its Python code could leave it locked
        self._changed = threading.Condition(self._lock)
        self._due_at = self._awaited = math.inf  # the time that was set last, and the one until which it sleeps
        self._thread: threading.Thread | None = None
        self._is_wanted = False  # False ends the thread

    def set(self, due_at: float) -> None:
        """Ring at ``due_at`` instead of the time that was set before. An infinite time ends the thread."""
        with self._lock:
            self._due_at, self._is_wanted = due_at, due_at < math.inf
            if self._thread is None or not self._thread.is_alive():  # the latter case is a fork of the process
                if due_at == math.inf:
                    return
                self._thread = threading.Thread(target=self._run, name="ckpt_alarm", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no thread can be started; the caller falls back to polling
                    self._thread, self._due_at = None, math.inf
                    self._ring()
            elif due_at < self._awaited or due_at == math.inf:
                self._changed.notify()

    def end(self) -> None:
        """End the thread, and wait for that, because tests of scripts look for threads that are left."""
        thread = self._thread
        self.set(math.inf)
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def _run(self) -> None:
        with self._lock:
            while self._is_wanted:
                left = self._due_at - self._now()
                if left <= 0:
                    self._due_at = math.inf
                    self._ring()
                    continue
                self._awaited = self._due_at
                self._changed.wait(min(left, _LINGERS))
                if self._due_at == math.inf:
                    break
            self._thread = None
