"""Until when the steps of a training lead to nothing, so that an adapter need not tell its run of each."""

from __future__ import annotations

import math

from ..policy.horizon import Horizon
from ..runtime.clock import Clock


class Quiet:
    """The one thing that an adapter looks at when a step is done: whether it has to tell its run.

    It has to when the step is at ``step`` or behind it, or when ``alarm`` is set: a moment has come, or something has
    happened outside of the training loop. So it always has to while nobody has let it `rest`.

    Args:
        clock: The run's.

    Attributes:
        step: Optimizer updates. alarm: see above.
        batch: For who counts batches: the first one of the running epoch that may be the one with that step.
    """

    __slots__ = ("_alarm", "_clock", "alarm", "batch", "step")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarm = clock.alarm(self.ring)
        self.batch: float = 0
        self.wake()

    def ring(self) -> None:
        """Something has happened that the run has to look at: a signal, an outcome, a moment. From any thread."""
        self.alarm = True

    def wake(self) -> None:
        """The run begins to look at what has happened; what happens from now on rings again."""
        self.alarm, self.step = False, -math.inf

    def rest(self, horizon: Horizon, time_zero: float, latest: float) -> None:
        """The run has seen everything up to its last `wake`.

        Args:
            horizon: Of its policy. time_zero: where its training time began. latest: when it wants to look at other
                things again; both by the clock's monotonic seconds.
        """
        self.step = horizon.step
        # The time of day may be set; that is noticed when `latest` comes.
        now, wall = self._clock.monotonic(), math.inf
        if horizon.wall < math.inf:
            wall = now + horizon.wall - self._clock.wall()
        self._alarm.set(min(time_zero + horizon.time, wall, latest))

    def close(self) -> None:
        """The training has ended."""
        self._alarm.set(math.inf)
