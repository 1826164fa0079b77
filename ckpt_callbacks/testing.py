"""Helpers for people who test their own policies."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from .formats import Written
from .runtime.clock import Alarm, Clock


class FakeClock(Clock):
    """Clocks that stand still until they are told to move.

    Args:
        wall: UTC seconds since 1970 at the beginning.
    """

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self._elapsed, self._wall = 0.0, wall
        self._alarms: list[FakeAlarm] = []

    def monotonic(self) -> float:
        return self._elapsed

    def wall(self) -> float:
        return self._wall + self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed += seconds
        for alarm in self._alarms:
            alarm.look(self._elapsed)

    def alarm(self, ring: Callable[[], None]) -> FakeAlarm:
        self._alarms.append(FakeAlarm(self.monotonic, ring))
        return self._alarms[-1]


class FakeAlarm(Alarm):
    """Rings when its clock is told to move."""

    def set(self, moment: float) -> None:
        self._moment = moment
        self.look(self._now())

    def look(self, now: float) -> None:
        """It is ``now``."""
        if now >= self._moment:
            self._moment = math.inf
            self._ring()


class FakeWriter:
    """Stages a small file instead of a checkpoint, and fails to write it when it is told to; give it as ``stage``.

    Args:
        payload: What the file holds. fail_on: numbers of the writes, from 1, that raise `OSError`.
    """

    live = False

    def __init__(self, payload: bytes = b"checkpoint", fail_on: frozenset[int] | set[int] = frozenset()) -> None:
        self.payload, self.fail_on, self.calls = payload, fail_on, 0

    def __call__(self) -> FakeWriter:
        return self

    def write(self, path: Path) -> Written:
        self.calls += 1
        if self.calls in self.fail_on:
            raise OSError(28, "No space left on device")
        path.write_bytes(self.payload)
        return Written()

    def release(self) -> None:
        """There is no memory to give back."""
