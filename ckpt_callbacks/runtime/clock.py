"""The two clocks that the engine is given, and never reads itself."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

_LINGERS = 10.0  # seconds that the thread waits to be set again


class Clock:
    """The machine's clocks. `ckpt_callbacks.testing.FakeClock` replaces it in tests."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def wall(self) -> float:
        """UTC seconds since 1970."""
        return time.time()

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """What calls ``ring`` when a moment of `monotonic` has come that it is set to."""
        return Alarm(self.monotonic, ring)


class Alarm:
    """Calls ``ring`` when a moment has come, on a thread that sleeps until then.

    Asking for the time costs a training step more than all else that a callback does in it.

    Args:
        now: Returns seconds that never go backwards.
        ring: Called on the thread. It must not block, and may be called late, or once too often just after a later
            moment was set.
    """

    def __init__(self, now: Callable[[], float], ring: Callable[[], None]) -> None:
        self._now, self._ring = now, ring
        self._lock = threading.RLock()  # not the condition's `with`: Ctrl-C in its Python code could leave it locked
        self._changed = threading.Condition(self._lock)
        self._moment = self._awaited = math.inf  # what was set last, and what the thread sleeps for
        self._thread: threading.Thread | None = None

    def set(self, moment: float) -> None:
        """Ring at ``moment``, and not at the one that was set before. An infinite one ends the thread."""
        with self._lock:
            self._moment = moment
            if self._thread is None or not self._thread.is_alive():  # the latter in a fork of the process
                if moment == math.inf:
                    return
                self._thread = threading.Thread(target=self._run, name="ckpt_alarm", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no thread can be started; whoever is rung for looks at the time himself
                    self._thread, self._moment = None, math.inf
                    self._ring()
            elif moment < self._awaited or moment == math.inf:
                self._changed.notify()

    def _run(self) -> None:
        with self._lock:
            while True:
                left = self._moment - self._now()
                if left <= 0:
                    self._moment = math.inf
                    self._ring()
                    continue
                self._awaited = self._moment
                self._changed.wait(min(left, _LINGERS))
                if self._moment == math.inf:
                    self._thread = None
                    return
