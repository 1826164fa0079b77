"""Until when the steps of a training lead to nothing, so that an adapter need not tell its run of each."""

from __future__ import annotations

import math
from collections.abc import Callable

from .clock import Clock
from .policy.intervals import Horizon


class Quiet:
    """The one thing that an adapter looks at when a step is done: whether it has to tell its run.

    It has to when the step is at ``step`` or behind it, when `now` is at ``until`` or behind it, or when ``alarm`` is
    set. So it always has to while nobody has let it `rest`.

    Args:
        clock: The run's.

    Attributes:
        step: Optimizer updates. until: a moment of `now`. now: the clock's monotonic seconds.
        alarm: Something has happened outside of the training loop.
        batch: For who counts batches: the first one of the running epoch that may be the one with that step.
    """

    __slots__ = ("_clock", "alarm", "batch", "now", "step", "until")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.now: Callable[[], float] = clock.monotonic
        self.batch: float = 0
        self.wake()

    def ring(self) -> None:
        """Something has happened that the run has to look at: a signal, an outcome. From any thread."""
        self.alarm = True

    def wake(self) -> None:
        """The run begins to look at what has happened; what happens from now on rings again."""
        self.alarm, self.step, self.until = False, -math.inf, -math.inf

    def rest(self, horizon: Horizon, time_zero: float, latest: float) -> None:
        """The run has seen everything up to its last `wake`.

        Args:
            horizon: Of its policy. time_zero: where its training time began, by `now`. latest: when it wants to look
                at other things again, by `now`.
        """
        self.step = horizon.step
        # The time of day may be set; that is noticed when `latest` comes.
        wall = self.now() + horizon.wall - self._clock.wall() if horizon.wall < math.inf else math.inf
        self.until = min(time_zero + horizon.time, wall, latest)
