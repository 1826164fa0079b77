"""The single triggers: when to save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import PolicyError
from ..events import Event, EventKind
from ..units import as_seconds, as_utc, format_number, in_words, is_count
from .argument_names import suggests_fields
from .composition import EventView, Firing, Trigger
from .horizon import NEVER, NOW, Horizon
from .intervals import Interval, accept_duration
from .metric import Metric, as_metric
from .pace import Overhead, Pace
from .state import State


class _Owed(Trigger):
    """A leaf that becomes due at a threshold, and stays due until a save in which it takes part."""

    def check(self, view: EventView) -> Firing | None:
        return Firing((self.describe(),), (self,)) if view.is_owed(self) else None

    def quiet_until(self, state: State, deadline: float | None) -> Horizon:
        known = state.intervals.get(self.key)
        if known is None:
            return NOW
        return NEVER if known.owed else self._next_threshold(known.crossed, state)

    def _next_threshold(self, crossed: float, state: State) -> Horizon:
        raise NotImplementedError


class _QuietBetweenMetrics(Trigger):
    """A leaf that depends on the metrics or the kind of an event; the mere end of a step cannot change its answer."""

    may_differ_across_ranks = False

    def quiet_until(self, state: State, deadline: float | None) -> Horizon:
        return NEVER


@suggests_fields
@dataclass(frozen=True, repr=False)
class Every(_Owed):
    """Save each time another interval is complete. Pass exactly one interval.

    Once due, it stays due until a save is made, even one that another rule requested together with it.

    Examples: ``Every(epochs=1)``, ``Every("30 min")``, ``Every(overhead=0.01)``.

    Args:
        epochs: Completed epochs; or, as the only argument, a training time with its unit, such as ``"30 min"``.
        steps: Optimizer updates.
        seconds: Seconds of training time, accumulated over resumes.
        minutes: Minutes of training time, accumulated over resumes.
        hours: Hours of training time, accumulated over resumes.
        overhead: The share of the training time, such as 0.01, that saves may block. Due as often as that allows,
            given the measured cost of a save; saves by other rules and failed saves count as well.
    """

    epochs: int | str | None = None
    steps: int | None = None
    seconds: float | None = None
    minutes: float | None = None
    hours: float | None = None
    overhead: float | None = None

    def __post_init__(self) -> None:
        accept_duration(self)
        Interval.given(self)  # raises, unless exactly one is given and makes sense

    @cached_property
    def interval(self) -> Interval:
        """The one interval that is given."""
        return Interval.given(self)

    @cached_property
    def pace(self) -> Pace | None:
        """For ``overhead``, the interval derived from what saves cost."""
        return None if self.overhead is None else Overhead(self.overhead)

    @property
    def may_differ_across_ranks(self) -> bool:
        """See `Trigger`."""
        return self.interval.is_clocked

    def threshold_count(self, event: Event) -> float | None:
        return None if self.pace else self.interval.count(event)

    def check(self, view: EventView) -> Firing | None:
        return self.pace.check(self, view) if self.pace else super().check(view)

    def quiet_until(self, state: State, deadline: float | None) -> Horizon:
        return self.pace.quiet_until(state) if self.pace else super().quiet_until(state, deadline)

    def _next_threshold(self, crossed: float, state: State) -> Horizon:
        return self.interval.end_of(crossed + 1)

    def describe(self) -> str:
        return self.pace.describe() if self.pace else self.interval.describe()

    def __repr__(self) -> str:
        return f"Every({self.interval})"


@suggests_fields
@dataclass(frozen=True, repr=False)
class At(_Owed):
    """Save once each of the listed steps, or epochs, is reached: ``At(steps=[100, 1000])``.

    Args:
        steps: Optimizer updates.
        epochs: Completed epochs; pass either these or steps.
    """

    steps: tuple[int, ...] = ()
    epochs: tuple[int, ...] = ()
    may_differ_across_ranks = False

    def __post_init__(self) -> None:
        for unit in ("steps", "epochs"):
            values = getattr(self, unit)
            if not isinstance(values, Sequence) or not all(is_count(value) for value in values):
                raise PolicyError(f"At: {unit} is {values!r}; expected a list of whole numbers of at least 1")
            object.__setattr__(self, unit, tuple(values))
        if bool(self.steps) == bool(self.epochs):
            raise PolicyError("At: expected a list of steps or a list of epochs, such as At(steps=[100, 1000])")

    def threshold_count(self, event: Event) -> float:
        here, marks = (event.step, self.steps) if self.steps else (event.epoch, self.epochs)
        return sum(mark <= here for mark in marks)

    def _next_threshold(self, crossed: float, state: State) -> Horizon:
        ahead = [mark for mark in self.steps if mark > state.step]
        return Horizon(step=min(ahead)) if ahead else NEVER

    def describe(self) -> str:
        unit = "steps" if self.steps else "epochs"
        return f"at {unit} {', '.join(map(str, self.steps or self.epochs))}"

    def __repr__(self) -> str:
        return f"At({'steps' if self.steps else 'epochs'}={list(self.steps or self.epochs)!r})"


@suggests_fields
@dataclass(frozen=True, repr=False)
class OnDeadline(_Owed):
    """Save when the end of the job is near, once for each deadline.

    It stays due until a save in which it takes part. A deadline is identified by its time: once a save has answered it,
    it stays answered in every resume, while a later job of the run has its own end, and so its own deadline. If a run
    starts when its deadline is already near, and has not saved for it yet, a save is due at once: there may be no later
    chance.

    Example: ``OnDeadline(minutes(10))``.

    Args:
        before: How long before the end: seconds, such as ``minutes(10)``, or text such as ``"10 min"``.
        end: The end of the job: UTC seconds since 1970; or a datetime, or ISO 8601 text, with its offset from UTC. By
            default, the end reported by the job scheduler (`Event.deadline`); without either, it is never due.
    """

    before: float
    end: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "before", as_seconds(self.before, "OnDeadline: before", positive=True))
        if self.end is not None:
            object.__setattr__(self, "end", as_utc(self.end, "OnDeadline: end"))

    def quiet_until(self, state: State, deadline: float | None) -> Horizon:
        end = self.end if self.end is not None else deadline
        known = state.intervals.get(self.key)
        answered = known is not None and known.crossed == end and not known.owed
        return NEVER if end is None or answered else Horizon(wall=end - self.before)

    def threshold_count(self, event: Event) -> float | None:
        end = self.end if self.end is not None else event.deadline
        return end if end is not None and event.wall >= end - self.before else None

    def becomes_due(self, before: float, count: float, event: Event) -> bool:
        return count != before  # also at a start

    def check(self, view: EventView) -> Firing | None:
        # A save that an earlier job missed before its own deadline is not owed to a later one.
        return super().check(view) if self.threshold_count(view.event) is not None else None

    def describe(self) -> str:
        return f"{in_words(self.before)} before the deadline"

    def __repr__(self) -> str:
        end = "" if self.end is None else f", end={format_number(self.end)}"
        return f"OnDeadline(before={format_number(self.before)}{end})"


@suggests_fields
@dataclass(frozen=True)
class Improves(_QuietBetweenMetrics):
    """Save when a metric beats the best value of all saved checkpoints.

    The value has to be measured with exactly the weights that are saved. A failed save does not count: the next value
    that is better than the saved ones triggers a save.

    Args:
        metric: The metric, or its name; see `as_metric`. Its ``min_delta`` says by how much the value must be better.
    """

    metric: Metric

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", as_metric("Improves", self.metric))

    def metrics(self) -> tuple[Metric, ...]:
        return (self.metric,)

    def check(self, view: EventView) -> Firing | None:
        value = view.improvement(self.metric)
        if value is None:
            return None
        at = " at a step" if self.metric.per == "step" else ""
        return Firing((f"{self.metric.series} improved to {value:.6g}{at}",), (self,))

    def describe(self) -> str:
        return f"{self.metric.series} improves"


@suggests_fields
@dataclass(frozen=True)
class OnPreempt(_QuietBetweenMetrics):
    """Save when the process is asked to end: at SIGTERM, or at the warning signal of a job scheduler."""

    kinds = frozenset({EventKind.PREEMPT})

    def check(self, view: EventView) -> Firing | None:
        return Firing(("preemption",), (self,)) if view.event.kind in self.kinds else None

    def describe(self) -> str:
        return "preemption"


@suggests_fields
@dataclass(frozen=True)
class OnException(_QuietBetweenMetrics):
    """Save when training raises an exception. Such a checkpoint never becomes ``best``."""

    kinds = frozenset({EventKind.EXCEPTION})

    def check(self, view: EventView) -> Firing | None:
        return Firing(("exception",), (self,)) if view.event.kind in self.kinds else None

    def describe(self) -> str:
        return "exception"


@suggests_fields
@dataclass(frozen=True)
class Predicate(Trigger):
    """Save when your own function returns True.

    Example: ``Predicate(lambda event: event.step in (1, 10, 100), name="powers of ten")``.

    Args:
        function: A function of one `Event`. It is called at every event on every process, so it has to be pure.
        name: The name in the reasons of a save; by default the function's.
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

    def check(self, view: EventView) -> Firing | None:
        return Firing((self.name,), (self,)) if self.function(view.event) else None

    def describe(self) -> str:
        return self.name
