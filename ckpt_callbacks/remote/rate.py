"""The limit of how many bytes are sent in a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RateLimit:
    """Spreads bytes evenly over time, whatever thread sends them.

    Args:
        rate: Bytes per second; None for no limit.
        go_on: Called several times a second while it waits; it may raise an exception to end that.
    """

    def __init__(self, rate: int | None, go_on: Callable[[], object]) -> None:
        self._rate, self._go_on, self._lock = rate, go_on, threading.Lock()
        self._next = 0.0  # when the next bytes may be sent

    def wait(self, count: int) -> None:
        """Wait until ``count`` more bytes may be sent."""
        if self._rate is None:
            self._go_on()
            return
        with self._lock:
            begin = max(self._next, time.monotonic())
            self._next = begin + count / self._rate
        while True:
            self._go_on()
            left = begin - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.2))
