"""The two clocks that the engine is given, and never reads itself."""

from __future__ import annotations

import time


class Clock:
    """The machine's clocks. `ckpt_callbacks.testing.FakeClock` replaces it in tests."""

    monotonic = staticmethod(time.monotonic)  # seconds that never go backwards; asked at each step, so called directly

    def wall(self) -> float:
        """UTC seconds since 1970."""
        return time.time()
