"""The steps at which processes that train together agree. At all other steps, they do not communicate."""

from __future__ import annotations

import math

from ..policy.horizon import Horizon
from ..runtime.clock import Clock

_EVERY = 0.5  # seconds between two agreements, if no signal has to be answered sooner
_SLOWER = 100  # if steps become this many times slower, a signal is still answered in half of its grace period
_MOST = 1 << 16  # steps


class AgreedSteps:
    """The step of the next agreement, which all processes have known since the last one.

    No process may decide by its own clock that it is time to agree: the others would continue to train, and wait in
    another collective call. So the primary process derives a number of steps from the recent duration of a step, and
    each agreement shares this number. It at most doubles from one agreement to the next.

    Args:
        clock: The run's clock.
        grace: Seconds from a signal to the end of the process; infinity if no rule saves for a signal.

    Attributes:
        next: The first step at which the processes agree again. Before the first agreement, they agree at every step.
    """

    def __init__(self, clock: Clock, grace: float) -> None:
        self._clock = clock
        self._every = min(_EVERY, grace / 2 / _SLOWER)
        self.begin()

    def begin(self) -> None:
        """Begin a `fit`, whose steps may take another time than those before."""
        self._ahead, self._took = 1, math.inf  # steps from one agreement to the next; seconds of a step
        self._step = 0  # of the last agreement
        self._went_on_at: float | None = None  # the time after it; None if training has paused since
        self.next: float = -math.inf

    def ahead(self, step: int, horizon: Horizon, time_zero: float) -> int:
        """Return the number of steps from the agreement at ``step`` to the next one. Called on the primary process.

        Args:
            step: Number of optimizer updates.
            horizon: The policy's horizon. The next agreement should not come after it.
            time_zero: When training time began, in the clock's monotonic seconds.
        """
        now = self._clock.monotonic()
        if self._went_on_at is not None and step > self._step:
            self._took = (now - self._went_on_at) / (step - self._step)
        self._step = step
        self._ahead = max(1, min(2 * self._ahead, _steps(self._every, self._took)))
        due_in = min(horizon.time - (now - time_zero), horizon.wall - self._clock.wall())
        return self._ahead if due_in <= 0 else max(1, min(self._ahead, _steps(due_in, self._took)))

    def go_on(self) -> None:
        """Begin to measure how long steps take, once all consequences of the agreement are dealt with."""
        self._went_on_at = self._clock.monotonic()

    def pause(self) -> None:
        """Stop measuring until `go_on`, because the time now includes more than steps."""
        self._went_on_at = None


def _steps(seconds: float, took: float) -> int:
    return _MOST if seconds >= took * _MOST else round(seconds / took)
