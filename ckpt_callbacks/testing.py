"""Fakes for tests of policies and of code that drives a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .formats import Written
from .run.source import Embedded
from .runtime.clock import Alarm, Clock


class FakeClock(Clock):
    """A clock that stands still until `advance` is called.

    Args:
        wall: The UTC time at the beginning, in seconds since 1970.
    """

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self._elapsed, self._wall = 0.0, wall
        self._alarms: list[FakeAlarm] = []

    def monotonic(self) -> float:
        return self._elapsed

    def wall(self) -> float:
        return self._wall + self._elapsed

    def advance(self, seconds: float) -> None:
        """Let a number of seconds pass."""
        self._elapsed += seconds
        for alarm in self._alarms:
            alarm.look(self._elapsed)

    def alarm(self, ring: Callable[[], None]) -> FakeAlarm:
        self._alarms.append(FakeAlarm(self.monotonic, ring))
        return self._alarms[-1]


class FakeAlarm(Alarm):
    """An alarm that rings when its clock has advanced far enough."""

    def set(self, due_at: float) -> None:
        self._due_at = due_at
        self.look(self._now())

    def look(self, now: float) -> None:
        """Ring if the alarm is due at ``now``."""
        if now >= self._due_at:
            self._due_at = math.inf
            self._ring()


class FakeWriter:
    """A training run whose checkpoint is a small file, for `Run.start`; chosen writes fail.

    Args:
        payload: The content of the file.
        fail_on: Numbers of the writes, from 1, that raise `OSError`.

    Attributes:
        calls: Number of writes so far.
        embedded: The `Embedded` that was passed to the last snapshot.
    """

    live = False

    def __init__(self, payload: bytes = b"checkpoint", fail_on: frozenset[int] | set[int] = frozenset()) -> None:
        self.payload, self.fail_on, self.calls = payload, fail_on, 0
        self.embedded: Embedded | None = None

    def snapshot(self, embedded: Embedded) -> FakeWriter:
        """Return this object, which stores its argument as ``embedded``."""
        self.embedded = embedded
        return self

    def metadata(self) -> dict[str, Any]:
        """Return no facts."""
        return {}

    def write(self, path: Path) -> Written:
        """Write the file, unless this write is one that has to fail."""
        self.calls += 1
        if self.calls in self.fail_on:
            raise OSError(28, "No space left on device")
        path.write_bytes(self.payload)
        return Written()

    def release(self) -> None:
        """Do nothing: there is no memory to release."""
