"""What a trigger is, and how triggers compose: ``|``, ``&`` and ``~``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

from ..errors import PolicyError
from ..events import Event, EventKind
from .costs import Costs
from .intervals import NOW, Horizon
from .metric import Metric
from .state import State

_T = TypeVar("_T")


class View(Protocol):
    """What a trigger may look at: the event, and the state that `decide` keeps for it."""

    event: Event
    costs: Costs  # of the saves whose outcome is known
    saving: bool  # one is under way

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
    """Base of all triggers. For rules of your own, `Predicate` is easier than a subclass."""

    @property
    def uses_time(self) -> bool:
        """It depends on what processes of one training do not share, such as a clock."""
        return True

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

    @cached_property
    def key(self) -> str:
        """Names it in the state."""
        return repr(self)

    def next_moment(self, state: State, deadline: float | None) -> Horizon:
        """For a leaf: until when it goes on to fire, or not to, at the ends of steps that bring no metrics.

        By default it may change its mind at each of them.

        Args:
            state: After the last event. deadline: of the events to come; see `Event`.
        """
        return NOW

    def crossing(self, event: Event) -> float | None:
        """How many thresholds lie behind ``event``, or which one. None: none that could make it due."""
        return None

    def crosses(self, before: float, crossed: float, event: Event) -> bool:
        """Going from the crossing ``before`` to ``crossed``, at ``event``, makes it due."""
        return crossed > before and event.kind is not EventKind.START  # to begin further on crosses nothing

    def __or__(self, other: Trigger) -> AnyOf:
        return AnyOf((self, other)) if isinstance(other, Trigger) else NotImplemented

    def __and__(self, other: Trigger) -> AllOf:
        return AllOf((self, other)) if isinstance(other, Trigger) else NotImplemented

    def __invert__(self) -> Trigger:
        return Not(self)

    def __bool__(self) -> bool:
        raise PolicyError("a trigger has no truth value: combine triggers with | and &, not with `or` and `and`")


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
        fired = [firing for part in self.triggers if (firing := part.check(view)) is not None]
        if len(fired) < len(self.triggers):
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


def _flat(kind: type, trigger: Trigger) -> tuple[Trigger, ...]:
    return trigger.parts() if isinstance(trigger, kind) else (trigger,)


def _grouped(part: object, kind: type, text: str) -> str:
    return f"({text})" if isinstance(part, kind) else text


def _unique(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))
