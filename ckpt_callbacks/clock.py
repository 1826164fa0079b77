"""The two clocks that the engine is given, and never reads itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from .alarm import Alarm


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
