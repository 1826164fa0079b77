"""Save now? The single triggers; `composition` says how they compose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from ..errors import PolicyError
from ..events import Event, EventKind
from ..units import as_seconds, as_utc, in_words
from .composition import Firing, Trigger, View
from .intervals import NEVER, NOW, UNITS, Horizon, check_interval, moment_of, position
from .metric import Metric, check_metric
from .pace import Overhead, Pace, check_pace
from .smoothing import exact
from .state import State


class _Due(Trigger):
    """A leaf that is due from a crossing until a save in which it took part."""

    def check(self, view: View) -> Firing | None:
        return Firing((self.describe(),), (self,)) if view.due(self) else None

    def next_moment(self, state: State, deadline: float | None) -> Horizon:
        known = state.dues.get(self.key)
        if known is None:
            return NOW
        return NEVER if known.due else self._next_crossing(known.crossed, state)

    def _next_crossing(self, crossed: float, state: State) -> Horizon:
        raise NotImplementedError


class _Steady(Trigger):
    """A leaf that goes by the metrics of an event, or by its kind: no step brings it news by itself."""

    uses_time = False

    def next_moment(self, state: State, deadline: float | None) -> Horizon:
        return NEVER


@dataclass(frozen=True, repr=False)
class Every(_Due):
    """Due each time that a multiple of the interval is crossed. Exactly one interval is given.

    Args:
        epochs: Completed epochs. steps: optimizer updates.
        seconds, minutes, hours: Training time, accumulated over resumes.
        overhead: The share of the training time, such as 0.01, for which saves may block it. Due as often as that
            allows, by what saves are measured to cost; what those of other rules and failed ones cost counts in.
    """

    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    minutes: float | None = None
    hours: float | None = None
    overhead: float | None = None

    def __post_init__(self) -> None:
        check_interval("Every", vars(self), self._given)

    @property
    def _given(self) -> list[tuple[str, float]]:
        return [(f.name, value) for f in fields(self) if (value := getattr(self, f.name)) is not None]

    @cached_property
    def pace(self) -> Pace | None:
        """What chooses the interval, where that follows from what saves cost."""
        return None if self.overhead is None else Overhead(self.overhead)

    def crossing(self, event: Event) -> float | None:
        unit, n = self._given[0]
        return None if self.pace else position(event, unit) // n

    def check(self, view: View) -> Firing | None:
        return check_pace(self, self.pace, view) if self.pace else super().check(view)

    def next_moment(self, state: State, deadline: float | None) -> Horizon:
        return self.pace.until(state) if self.pace else super().next_moment(state, deadline)

    def _next_crossing(self, crossed: float, state: State) -> Horizon:
        unit, n = self._given[0]
        return moment_of((crossed + 1) * n, unit)

    @property
    def uses_time(self) -> bool:
        """See `Trigger`."""
        return self.pace is not None or self._given[0][0] in UNITS

    def describe(self) -> str:
        if self.pace:
            return self.pace.describe()
        unit, n = self._given[0]
        return f"every {exact(n)} {unit[:-1] if n == 1 else unit}"

    def __repr__(self) -> str:
        unit, n = self._given[0]
        return f"Every({unit}={exact(n)})"


@dataclass(frozen=True, repr=False)
class At(_Due):
    """Due when one of the listed steps or epochs is crossed."""

    steps: tuple[int, ...] = ()
    epochs: tuple[int, ...] = ()
    uses_time = False

    def __post_init__(self) -> None:
        for unit in ("steps", "epochs"):
            values = getattr(self, unit)
            if not isinstance(values, Sequence) or not all(_is_count(v) for v in values):
                raise PolicyError(f"At: {unit} is {values!r}; expected a list of whole numbers of at least 1")
            object.__setattr__(self, unit, tuple(values))
        if bool(self.steps) == bool(self.epochs):
            raise PolicyError("At: expected a list of steps or a list of epochs, such as At(steps=[100, 1000])")

    def crossing(self, event: Event) -> float:
        here, marks = (event.step, self.steps) if self.steps else (event.epoch, self.epochs)
        return sum(mark <= here for mark in marks)

    def _next_crossing(self, crossed: float, state: State) -> Horizon:
        ahead = [mark for mark in self.steps if mark > state.step]
        return moment_of(min(ahead), "steps") if ahead else NEVER

    def describe(self) -> str:
        unit = "steps" if self.steps else "epochs"
        return f"at {unit} {', '.join(map(str, self.steps or self.epochs))}"

    def __repr__(self) -> str:
        return f"At({'steps' if self.steps else 'epochs'}={list(self.steps or self.epochs)!r})"


@dataclass(frozen=True, repr=False)
class OnDeadline(_Due):
    """Due when the end of the job is near, until a save in which it took part; once for each deadline.

    A deadline is known by its moment: what was saved for one is saved for it in every resume, while a further job of
    the run has an end, and so a deadline, of its own. A run that starts when its deadline is near already, and was
    never saved for it, is due at once: that training has nowhere else to be safe.

    Args:
        before: How long before the end: seconds, such as ``minutes(10)``, or text such as ``"10 min"``.
        end: When: UTC seconds since 1970; or a datetime, or ISO 8601 text, that says its offset from UTC. By default
            what the job scheduler says (`Event.deadline`); while neither is known, this is never due.
    """

    before: float
    end: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "before", as_seconds(self.before, "OnDeadline: before", positive=True))
        if self.end is not None:
            object.__setattr__(self, "end", as_utc(self.end, "OnDeadline: end"))

    def next_moment(self, state: State, deadline: float | None) -> Horizon:
        end = self.end if self.end is not None else deadline
        known = state.dues.get(self.key)
        answered = known is not None and known.crossed == end and not known.due
        return NEVER if end is None or answered else Horizon(wall=end - self.before)

    def crossing(self, event: Event) -> float | None:
        end = self.end if self.end is not None else event.deadline
        return end if end is not None and event.wall >= end - self.before else None

    def crosses(self, before: float, crossed: float, event: Event) -> bool:
        return crossed != before  # at a start, too

    def check(self, view: View) -> Firing | None:
        # What an earlier job did not come to save for its own deadline is not owed to a later one.
        return super().check(view) if self.crossing(view.event) is not None else None

    def describe(self) -> str:
        return f"{in_words(self.before)} before the deadline"

    def __repr__(self) -> str:
        end = "" if self.end is None else f", end={exact(self.end)}"
        return f"OnDeadline(before={exact(self.before)}{end})"


@dataclass(frozen=True)
class Improves(_Steady):
    """Fires when the metric, measured at this event's own weights, beats the best value that was saved."""

    metric: Metric

    def __post_init__(self) -> None:
        check_metric("Improves", self.metric)

    def check(self, view: View) -> Firing | None:
        value = view.improvement(self.metric)
        return None if value is None else Firing((f"{self.metric.name} improved to {value:.6g}",), (self,))

    def describe(self) -> str:
        return f"{self.metric.name} improves"


@dataclass(frozen=True)
class OnPreempt(_Steady):
    """Fires when the process is told to end (SIGTERM, a scheduler's warning)."""

    def check(self, view: View) -> Firing | None:
        return Firing(("preemption",), (self,)) if view.event.kind is EventKind.PREEMPT else None

    def describe(self) -> str:
        return "preemption"


@dataclass(frozen=True)
class OnException(_Steady):
    """Fires when training raised. What it saves is never ``best``."""

    def check(self, view: View) -> Firing | None:
        return Firing(("exception",), (self,)) if view.event.kind is EventKind.EXCEPTION else None

    def describe(self) -> str:
        return "exception"


@dataclass(frozen=True)
class Predicate(Trigger):
    """A rule of the user's own: ``function(event) -> bool``, called at every event.

    Args:
        function: Must be pure: it is called once at each event, on every process.
        name: Stands in the reasons; by default the function's name.
    """

    function: Callable[[Event], bool]
    name: str = ""

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise PolicyError(f"Predicate: got {self.function!r}; expected a function of one Event")
        if not self.name:
            object.__setattr__(self, "name", getattr(self.function, "__qualname__", repr(self.function)))
        if not isinstance(self.name, str):
            raise PolicyError(f"Predicate: name is {self.name!r}; expected a text")

    def check(self, view: View) -> Firing | None:
        return Firing((self.name,), (self,)) if self.function(view.event) else None

    def describe(self) -> str:
        return self.name


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
