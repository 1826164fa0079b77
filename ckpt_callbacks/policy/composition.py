"""The base of all triggers, and their composition: ``|``, ``&`` and ``~``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from ..errors import PolicyError
from ..events import Event, EventKind
from .costs import Costs
from .horizon import NOW, Horizon
from .metric import Metric
from .state import State

if TYPE_CHECKING:
    from .pace import Pace

_T = TypeVar("_T")


class EventView(Protocol):
    """The event that a trigger is asked about, and the state that `decide` keeps for it.

    Attributes:
        event: The event.
        costs: The costs of the saves whose outcome is known.
        saving: A save has no outcome yet.
    """

    event: Event
    costs: Costs
    saving: bool

    def is_owed(self, trigger: Trigger) -> bool:
        """Return whether ``trigger`` has become due and no save has answered it yet."""

    def improvement(self, metric: Metric) -> float | None:
        """Return the value measured at this event, if it beats every value that was saved."""


@dataclass(frozen=True)
class Firing:
    """The answer of a trigger that asks for a save.

    Attributes:
        reasons: The reasons, in words.
        leaves: The triggers that took part, without their combinations.
    """

    reasons: tuple[str, ...]
    leaves: tuple[Trigger, ...]


@dataclass(frozen=True)
class Trigger:
    """A rule that says when to save: the base of all triggers.

    Triggers combine: ``a | b`` fires when either does, ``a & b`` when both do, ``~a`` when ``a`` does not.

    `Predicate` is the simplest way to write your own rule. A subclass has to define `check` and `describe`. The
    defaults of all other methods are correct for any rule, but costly: the rule is asked at every step, and each event
    is broadcast when several processes train together. A subclass that does not need this overrides `quiet_until`, and
    sets `may_differ_across_ranks` to False.

    Attributes:
        kinds: Kinds of events that this trigger is made for, such as `EventKind.PREEMPT`. None by default.
    """

    kinds: ClassVar[frozenset[EventKind]] = frozenset()

    @property
    def may_differ_across_ranks(self) -> bool:
        """Whether processes that train together may answer differently at the same step, for example because of clocks.

        If so, they have to agree on each event. True by default.
        """
        return True

    def check(self, view: EventView) -> Firing | None:
        """Return a `Firing` when a save is due at this event, else None."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return the trigger in words, without any state."""
        raise NotImplementedError

    def parts(self) -> tuple[Trigger, ...]:
        """Return the child triggers; none for a leaf."""
        return ()

    def leaves(self) -> Iterator[Trigger]:
        """Return all leaves, in the order they were written in."""
        parts = self.parts()
        if not parts:
            yield self
        for part in parts:
            yield from part.leaves()

    @cached_property
    def key(self) -> str:
        """The trigger's name in the state."""
        return repr(self)

    @property
    def pace(self) -> Pace | None:
        """For a leaf, the interval that follows from the cost of saves. None by default: costs do not matter."""
        return None

    def metrics(self) -> tuple[Metric, ...]:
        """Return the metrics that a leaf compares. None by default."""
        return ()

    def quiet_until(self, state: State, deadline: float | None) -> Horizon:
        """Return how long a leaf gives the same answer at the ends of steps that bring no metrics.

        The default, `NOW`, means that the answer may change at each of them, so the leaf is asked every time.

        Args:
            state: The state after the last event.
            deadline: The deadline of the events to come; see `Event`.
        """
        return NOW

    def threshold_count(self, event: Event) -> float | None:
        """Return how many thresholds have been passed at ``event``, or the threshold itself for a deadline.

        The state stores this value. Once `becomes_due` returns True, a save is owed until one is made. The default,
        None, is for a trigger without thresholds.
        """
        return None

    def becomes_due(self, before: float, count: float, event: Event) -> bool:
        """Return whether a save is owed when the `threshold_count` goes from ``before`` to ``count`` at ``event``.

        By default, a save is owed if the count has grown, except at the start, because a run that begins partway
        through passes no threshold.
        """
        return count > before and event.kind is not EventKind.START

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
    """Save when any of the triggers fires: ``a | b``. All of them are asked, so that all reasons are known.

    Args:
        triggers: One or more triggers.
    """

    def check(self, view: EventView) -> Firing | None:
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
    """Save at the first event at which all of the triggers are due or true: ``a & b``.

    An interval stays due until a save is made, so ``Every(epochs=1) & Improves(val)`` saves at the first improvement
    after each epoch.

    Args:
        triggers: One or more triggers.
    """

    def check(self, view: EventView) -> Firing | None:
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
    """Fire when the other trigger does not: ``~a``.

    ``~Every(...)`` means "not due". A save that it takes part in does not count as a save by the other trigger.

    Args:
        trigger: The other trigger.
    """

    trigger: Trigger

    def __post_init__(self) -> None:
        if not isinstance(self.trigger, Trigger):
            raise PolicyError(f"Not: got {self.trigger!r}; expected a trigger")

    def parts(self) -> tuple[Trigger, ...]:
        return (self.trigger,)

    def check(self, view: EventView) -> Firing | None:
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
