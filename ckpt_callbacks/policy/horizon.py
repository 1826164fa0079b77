"""The time for which a policy decides nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Horizon:
    """The point up to which the ends of steps change nothing. An event that reaches none of the three may be skipped.

    Attributes:
        step: Number of optimizer updates; infinity if no step matters.
        time: Training time in seconds, or infinity.
        wall: UTC seconds since 1970, or infinity.
    """

    step: float = math.inf
    time: float = math.inf
    wall: float = math.inf

    def earlier(self, other: Horizon) -> Horizon:
        """Return the nearer of the two on each axis."""
        return Horizon(min(self.step, other.step), min(self.time, other.time), min(self.wall, other.wall))


NEVER = Horizon()
NOW = Horizon(step=-math.inf)
