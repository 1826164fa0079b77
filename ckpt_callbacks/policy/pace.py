"""Intervals that follow from the measured cost of a save: `Optimal`, and the pace of ``Every(overhead=...)``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from ..units import as_seconds, format_number, in_words, roughly
from .argument_names import suggests_fields
from .composition import EventView, Firing, Trigger
from .costs import Costs
from .horizon import NEVER, Horizon
from .state import State


class Pace:
    """The interval of a trigger, derived from what saves cost.

    Before anything has been measured, a save is due at once: it takes the first measurement, and finds a broken disk
    early. While a save is pending, none is due. A failed save leaves the run as unsafe as before, so a save stays due.
    """

    def interval(self, cost: float) -> float:
        """Return the training time between saves that each block for ``cost`` seconds; in seconds."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return the rule in words, without any state."""
        raise NotImplementedError

    def due_at(self, costs: Costs) -> float:
        """Return the training time, in seconds, from which a save is due if none is pending."""
        if costs.expected is None or costs.asked is None:
            return 0.0
        return costs.asked + self.interval(costs.expected)

    def quiet_until(self, state: State) -> Horizon:
        """Return how long a save stays due, or not due; see `Trigger.quiet_until`."""
        due_at = self.due_at(state.costs)
        return NEVER if state.pending or state.time >= due_at else Horizon(time=due_at)

    def check(self, trigger: Trigger, view: EventView) -> Firing | None:
        """Return the firing of the ``trigger`` that has this pace, if a save is due."""
        if view.saving or view.event.time < self.due_at(view.costs):
            return None
        return Firing((self.explain(view.costs),), (trigger,))

    def explain(self, costs: Costs) -> str:
        """Return the chosen interval and its reason in words."""
        if costs.expected is None:
            return f"{self.describe()}: at once, because no save was measured yet"
        every, cost = roughly(self.interval(costs.expected)), roughly(costs.expected)
        return f"{self.describe()}: every {every}, because a save blocks {cost}"


@dataclass(frozen=True)
class Overhead(Pace):
    """The pace at which all saves together block at most a given share of the training time.

    The share is respected over the whole run, and also since the last save.
    """

    share: float

    def interval(self, cost: float) -> float:
        return cost / self.share

    def due_at(self, costs: Costs) -> float:
        # Also within the share since the last save, so that time saved up over a long period is not spent all at once.
        return max(super().due_at(costs), (costs.blocked + (costs.expected or 0.0)) / self.share)

    def describe(self) -> str:
        return f"overhead {100 * self.share:.6g}%"


@dataclass(frozen=True)
class LeastLoss(Pace):
    """The pace that loses the least training time to saves and failures together.

    Args:
        mtbf: Mean time between failures in seconds.
    """

    mtbf: float

    def interval(self, cost: float) -> float:
        """Return the optimum checkpoint interval.

        J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future Generation
        Computer Systems 22(3), 2006: the time computed between two saves, to which the time of the save
        itself is added. Its first term is that of J. W. Young, "A first order approximation to the optimum checkpoint
        interval", Communications of the ACM 17(9), 1974.
        """
        if cost >= 2 * self.mtbf:
            return self.mtbf + cost
        part = math.sqrt(cost / self.mtbf / 2)
        return math.sqrt(2 * cost) * math.sqrt(self.mtbf) * (1 + part / 3 + part**2 / 9)

    def describe(self) -> str:
        return f"optimal for a failure every {in_words(self.mtbf)}"


@suggests_fields
@dataclass(frozen=True, repr=False)
class Optimal(Trigger):
    """Save at the interval that loses the least training time to saves and failures together.

    The interval is that of Daly (2006), a refinement of Young (1974). It counts from the last save that any rule
    requested, and follows the measured cost of a save as that changes.

    Example: ``Optimal(mtbf=hours(6))``.

    Args:
        mtbf: Mean time between failures of training: seconds, such as ``hours(6)``, or text such as ``"6 h"``.
    """

    mtbf: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mtbf", as_seconds(self.mtbf, "Optimal: mtbf", positive=True))

    @cached_property
    def pace(self) -> Pace:
        """The interval, derived from what saves cost."""
        return LeastLoss(self.mtbf)

    def check(self, view: EventView) -> Firing | None:
        return self.pace.check(self, view)

    def quiet_until(self, state: State, deadline: float | None) -> Horizon:
        return self.pace.quiet_until(state)

    def describe(self) -> str:
        return self.pace.describe()

    def __repr__(self) -> str:
        return f"Optimal(mtbf={format_number(self.mtbf)})"
