"""Intervals of epochs, steps and training time."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from ..errors import PolicyError
from ..events import Event

UNITS = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}
SHARE = "overhead"  # of the training time


def position(event: Event, unit: str) -> float:
    """Where ``event`` lies on the axis of ``unit``: epochs, steps, or training time in that unit."""
    if unit in UNITS:
        return event.time / UNITS[unit]
    return event.epoch if unit == "epochs" else event.step


@dataclass(frozen=True)
class Horizon:
    """Until when the ends of steps lead to nothing: what reaches none of these may be left out.

    Attributes:
        step: Optimizer updates. time: training seconds. wall: UTC seconds since 1970. Infinity where none is near.
    """

    step: float = math.inf
    time: float = math.inf
    wall: float = math.inf

    def earlier(self, other: Horizon) -> Horizon:
        """The nearer of both on each axis."""
        return Horizon(min(self.step, other.step), min(self.time, other.time), min(self.wall, other.wall))


NEVER = Horizon()
NOW = Horizon(step=-math.inf)
_ROUNDING = 1e-12  # the share by which a moment may be computed too late; crossings are computed another way


def moment_of(threshold: float, unit: str) -> Horizon:
    """When an event's `position` on the axis of ``unit`` reaches ``threshold``; rather too early than too late.

    Within an epoch none of its ends is reached.
    """
    if unit in UNITS:
        return Horizon(time=threshold * UNITS[unit] * (1 - _ROUNDING))
    return Horizon(step=threshold) if unit == "steps" else NEVER


def check_interval(where: str, fields: dict[str, object], given: list[tuple[str, float]]) -> None:
    """Raise `PolicyError` unless exactly one interval is given: finite, positive, whole for counts, a share below 1."""
    expected = f"expected exactly one of {', '.join(fields)}"
    if len(given) != 1:
        received = ", ".join(f"{name}={value!r}" for name, value in given) or "none"
        raise PolicyError(f"{where}: got {received}; {expected}")
    unit, n = given[0]
    if unit == SHARE:
        if isinstance(n, bool) or not isinstance(n, int | float) or not 0 < n < 1:
            raise PolicyError(f"{where}: {unit} is {n!r}; expected a share above 0 and below 1, such as 0.01")
        return
    whole = unit not in UNITS
    if isinstance(n, bool) or not isinstance(n, int if whole else int | float) or not 0 < n <= sys.float_info.max:
        kind = "a whole number of at least 1" if whole else "a positive number"
        raise PolicyError(f"{where}: {unit} is {n!r}; expected {kind}")
