"""A gate that lets an adapter skip the steps at which nothing can happen."""

from __future__ import annotations

import math

from ..policy.horizon import Horizon
from ..runtime.clock import Clock


class StepGate:
    """The gate that an adapter checks when a step ends; it checks nothing else.

    The adapter must report a step once `step` is reached or `alarm` is set. Until the first call of `close_until`, it
    must report every step.

    Args:
        clock: The run's clock.

    Attributes:
        step: Number of optimizer updates from which every step must be reported.
        alarm: True if something has happened outside the training loop: a signal, a finished save, a due time.
        batch: For adapters that count batches: the first batch of the running epoch that may reach `step`.
        begun: For adapters that count batches: the last batch of the running epoch that began; None before the first
            one.
    """

    __slots__ = ("_alarm", "_clock", "alarm", "batch", "begun", "step")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarm = clock.alarm(self.open)
        self.batch: float = 0
        self.begun: int | None = None
        self.step: float
        self.clear()

    def open(self) -> None:
        """Have the next step reported. Called from any thread."""
        self.alarm = True

    def clear(self) -> None:
        """Forget what has happened so far; anything that happens from now on opens the gate again."""
        self.alarm, self.step = False, -math.inf

    def close_until(self, horizon: Horizon, time_zero: float, latest: float) -> None:
        """Skip steps as long as the policy decides nothing.

        Args:
            horizon: The policy's horizon.
            time_zero: When training time began, in the clock's monotonic seconds.
            latest: When to open again in any case, in the clock's monotonic seconds.
        """
        self.step = horizon.step
        # Someone may change the system clock. The change is noticed once `latest` is reached.
        now, wall = self._clock.monotonic(), math.inf
        if horizon.wall < math.inf:
            wall = now + horizon.wall - self._clock.wall()
        self._alarm.set(min(time_zero + horizon.time, wall, latest))

    def close_for_all(self, step: float) -> None:
        """Skip steps until ``step``, as all processes that train together do. No alarm opens the gate before it.

        Args:
            step: The first step at which they agree again.
        """
        self.step = step

    def reports(self, step: int) -> bool:
        """Return whether all processes that train together report this step."""
        return step >= self.step

    def close(self) -> None:
        """End the alarm's thread."""
        self._alarm.end()
