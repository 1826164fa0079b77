"""How often to save, by what a save was measured to cost: `Optimal`, and what is behind ``Every(overhead=...)``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..units import as_seconds, in_words, roughly
from .composition import Firing, Trigger, View
from .costs import Costs
from .intervals import NEVER, Horizon
from .smoothing import exact
from .state import State


class Pace:
    """An interval that follows from costs.

    Before anything was measured it is due at once: that save measures, and finds a broken disk early. While a save is
    under way it is not due. A save that failed brings nothing nearer to done, so it stays due.
    """

    def interval(self, cost: float) -> float:
        """Seconds of training time from one save to the next, where one save blocks for ``cost`` seconds."""
        raise NotImplementedError

    def moment(self, costs: Costs) -> float:
        """Training time in seconds from which it is due, if no save is under way."""
        if costs.expected is None or costs.asked is None:
            return 0.0
        return costs.asked + self.interval(costs.expected)

    def until(self, state: State) -> Horizon:
        """Until when it goes on to be due, or not to be; see `Trigger.next_moment`."""
        moment = self.moment(state.costs)
        return NEVER if state.pending or state.time >= moment else Horizon(time=moment)

    def explain(self, costs: Costs) -> str:
        """The interval that it chose, and why."""
        if costs.expected is None:
            return f"{self.describe()}: at once, because no save was measured yet"
        every, cost = roughly(self.interval(costs.expected)), roughly(costs.expected)
        return f"{self.describe()}: every {every}, because a save blocks {cost}"

    def describe(self) -> str:
        """The rule in words, without any state."""
        raise NotImplementedError


@dataclass(frozen=True)
class Overhead(Pace):
    """What saves may take of the training time, as a share of it; in the whole run, and since the last save."""

    share: float

    def interval(self, cost: float) -> float:
        return cost / self.share

    def moment(self, costs: Costs) -> float:
        # Within the share since the last save, too: what long went unspent is not spent all at once.
        return max(super().moment(costs), (costs.blocked + (costs.expected or 0.0)) / self.share)

    def describe(self) -> str:
        return f"overhead {100 * self.share:.6g}%"


@dataclass(frozen=True, repr=False)
class Optimal(Trigger, Pace):
    """Due at the interval that loses the least training time to saves and failures together.

    Counted from the last save that any rule asked for; chosen anew from what saves are measured to cost.

    Args:
        mtbf: Mean time between failures of the training: seconds, such as ``hours(6)``, or text such as ``"6 h"``.
    """

    mtbf: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mtbf", as_seconds(self.mtbf, "Optimal: mtbf", positive=True))

    def interval(self, cost: float) -> float:
        """J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", 2006.

        That is the time computed between two saves; the time of the save itself comes to it. Its first term is that of
        J. W. Young, "A first order approximation to the optimum checkpoint interval", 1974.
        """
        if cost >= 2 * self.mtbf:
            return self.mtbf + cost
        part = math.sqrt(cost / self.mtbf / 2)
        return math.sqrt(2 * cost) * math.sqrt(self.mtbf) * (1 + part / 3 + part**2 / 9)

    @property
    def pace(self) -> Pace:
        """See `Every.pace`."""
        return self

    def check(self, view: View) -> Firing | None:
        return check_pace(self, self, view)

    def next_moment(self, state: State, deadline: float | None) -> Horizon:
        return self.until(state)

    def describe(self) -> str:
        return f"optimal for a failure every {in_words(self.mtbf)}"

    def __repr__(self) -> str:
        return f"Optimal(mtbf={exact(self.mtbf)})"


def check_pace(leaf: Trigger, pace: Pace, view: View) -> Firing | None:
    """The firing of a ``leaf`` that goes by ``pace``."""
    if view.saving or view.event.time < pace.moment(view.costs):
        return None
    return Firing((pace.explain(view.costs),), (leaf,))
