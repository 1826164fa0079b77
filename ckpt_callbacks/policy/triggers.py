"""Save now? Triggers are values that compose with ``|``, ``&`` and ``~``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import PolicyError
from ..events import Event, EventKind
from .metric import Metric, check_metric
from .smoothing import exact

UNITS = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}


class View(Protocol):
    """What a trigger may look at: the event, and the state that `decide` keeps for it."""

    event: Event

    def due(self, leaf: Trigger) -> bool:
        """A crossing of ``leaf`` that no save has answered yet."""

    def improvement(self, metric: Metric) -> float | None:
        """The value measured at this event, if it beats every value that was saved."""


@dataclass(frozen=True)
class Firing:
    """A trigger fired: why, and which leaves took part."""

    reasons: tuple[str, ...]
    leaves: tuple[Trigger, ...]


@dataclass(frozen=True)
class Trigger:
    """Base of all triggers. Subclass `Predicate` use is easier for rules of your own."""

    def check(self, view: View) -> Firing | None:
        """A `Firing` when a save is due at this event, else None."""
        raise NotImplementedError

    def describe(self) -> str:
        """The trigger in words, without any state."""
        raise NotImplementedError

    def parts(self) -> tuple[Trigger, ...]:
        """Child triggers; empty for a leaf."""
        return ()

    def leaves(self) -> Iterator[Trigger]:
        """All leaves, in the order in which they were written."""
        parts = self.parts()
        if not parts:
            yield self
        for part in parts:
            yield from part.leaves()

    def crossing(self, event: Event) -> float | None:
        """How many thresholds lie behind ``event``; becomes due when that grows. None: never due by itself."""
        return None

    def __or__(self, other: Trigger) -> AnyOf:
        return AnyOf((self, other)) if isinstance(other, Trigger) else NotImplemented

    def __and__(self, other: Trigger) -> AllOf:
        return AllOf((self, other)) if isinstance(other, Trigger) else NotImplemented

    def __invert__(self) -> Trigger:
        return Not(self)

    def __bool__(self) -> bool:
        raise PolicyError("a trigger has no truth value: combine triggers with | and &, not with `or` and `and`")


def _flat(kind: type, trigger: Trigger) -> tuple[Trigger, ...]:
    return trigger.parts() if isinstance(trigger, kind) else (trigger,)


class _Due(Trigger):
    """A leaf that is due from a crossing until a save in which it took part."""

    def check(self, view: View) -> Firing | None:
        return Firing((self.describe(),), (self,)) if view.due(self) else None


@dataclass(frozen=True, repr=False)
class Every(_Due):
    """Due each time that a multiple of the interval is crossed. Exactly one interval is given.

    Args:
        epochs: Completed epochs. steps: optimizer updates.
        seconds, minutes, hours: Training time, accumulated over resumes.
    """

    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    minutes: float | None = None
    hours: float | None = None

    def __post_init__(self) -> None:
        check_interval("Every", vars(self), self._given)

    @property
    def _given(self) -> list[tuple[str, float]]:
        return [(name, value) for name, value in vars(self).items() if value is not None]

    def crossing(self, event: Event) -> float:
        unit, n = self._given[0]
        return position(event, unit) // n

    @property
    def uses_time(self) -> bool:
        """It depends on the clock, which processes of one training do not share."""
        return self._given[0][0] in UNITS

    def describe(self) -> str:
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

    def describe(self) -> str:
        unit = "steps" if self.steps else "epochs"
        return f"at {unit} {', '.join(map(str, self.steps or self.epochs))}"

    def __repr__(self) -> str:
        return f"At({'steps' if self.steps else 'epochs'}={list(self.steps or self.epochs)!r})"


@dataclass(frozen=True)
class Improves(Trigger):
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
class OnPreempt(Trigger):
    """Fires when the process is told to end (SIGTERM, a scheduler's warning)."""

    def check(self, view: View) -> Firing | None:
        return Firing(("preemption",), (self,)) if view.event.kind is EventKind.PREEMPT else None

    def describe(self) -> str:
        return "preemption"


@dataclass(frozen=True)
class OnException(Trigger):
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


@dataclass(frozen=True)
class _Group(Trigger):
    triggers: tuple[Trigger, ...]

    def __post_init__(self) -> None:
        triggers = tuple(self.triggers)
        if not triggers or not all(isinstance(t, Trigger) for t in triggers):
            raise PolicyError(f"{type(self).__name__}: got {triggers!r}; expected one or more triggers")
        flat = tuple(part for trigger in triggers for part in _flat(type(self), trigger))
        object.__setattr__(self, "triggers", flat)

    def parts(self) -> tuple[Trigger, ...]:
        return self.triggers

    def _joined(self, operator: str, parts: Iterator[str]) -> str:
        return operator.join(parts) if len(self.triggers) > 1 else f"{type(self).__name__}(({next(parts)},))"


@dataclass(frozen=True, repr=False)
class AnyOf(_Group):
    """Fires when any part fires; every part is asked, so that all reasons are known."""

    def check(self, view: View) -> Firing | None:
        fired = [firing for part in self.triggers if (firing := part.check(view))]
        if not fired:
            return None
        return Firing(_unique(r for f in fired for r in f.reasons), _unique(leaf for f in fired for leaf in f.leaves))

    def describe(self) -> str:
        return " or ".join(part.describe() for part in self.triggers)

    def __repr__(self) -> str:
        return self._joined(" | ", map(repr, self.triggers))


@dataclass(frozen=True, repr=False)
class AllOf(_Group):
    """Fires at the first event where every part is due or true."""

    def check(self, view: View) -> Firing | None:
        fired = [part.check(view) for part in self.triggers]
        if not all(firing is not None for firing in fired):
            return None
        reason = " and ".join(_unique(r for f in fired for r in f.reasons))
        return Firing((reason,), _unique(leaf for f in fired for leaf in f.leaves))

    def describe(self) -> str:
        return " and ".join(_grouped(part, AnyOf, part.describe()) for part in self.triggers)

    def __repr__(self) -> str:
        return self._joined(" & ", (_grouped(part, AnyOf, repr(part)) for part in self.triggers))


@dataclass(frozen=True, repr=False)
class Not(Trigger):
    """Fires when the other does not; ``~Every(...)`` means "not due". It takes no part in a save."""

    trigger: Trigger

    def __post_init__(self) -> None:
        if not isinstance(self.trigger, Trigger):
            raise PolicyError(f"Not: got {self.trigger!r}; expected a trigger")

    def parts(self) -> tuple[Trigger, ...]:
        return (self.trigger,)

    def check(self, view: View) -> Firing | None:
        return None if self.trigger.check(view) else Firing((self.describe(),), ())

    def describe(self) -> str:
        return f"not {_grouped(self.trigger, _Group, self.trigger.describe())}"

    def __repr__(self) -> str:
        return f"~{_grouped(self.trigger, _Group, repr(self.trigger))}"


def _grouped(part: object, kind: type, text: str) -> str:
    return f"({text})" if isinstance(part, kind) else text


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _unique(items: Iterator) -> tuple:
    return tuple(dict.fromkeys(items))


def position(event: Event, unit: str) -> float:
    """Where ``event`` lies on the axis of ``unit``: epochs, steps, or training time in that unit."""
    if unit in UNITS:
        return event.time / UNITS[unit]
    return event.epoch if unit == "epochs" else event.step


def check_interval(where: str, fields: dict[str, object], given: list[tuple[str, float]]) -> None:
    """Raise `PolicyError` unless exactly one interval is given, finite, positive, and whole for counts."""
    expected = f"expected exactly one of {', '.join(fields)}"
    if len(given) != 1:
        received = ", ".join(f"{name}={value!r}" for name, value in given) or "none"
        raise PolicyError(f"{where}: got {received}; {expected}")
    unit, n = given[0]
    whole = unit not in UNITS
    if isinstance(n, bool) or not isinstance(n, int if whole else int | float) or not 0 < n <= sys.float_info.max:
        kind = "a whole number of at least 1" if whole else "a positive number"
        raise PolicyError(f"{where}: {unit} is {n!r}; expected {kind}")
