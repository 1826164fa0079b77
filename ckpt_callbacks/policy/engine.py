"""The engine: a fold over events. Pure: no clock, no input or output, no randomness."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import Any

from ..errors import MetricError, PolicyError, ResumeError
from ..events import Event, EventKind
from .metric import Metric, check_metric
from .retention import KeepAll, Retention, best_by
from .stopping import NonFinite, Stopping
from .track import Track
from .triggers import Every, Improves, OnException, Predicate, Trigger

STATE_VERSION = 1
_OUTCOMES = (EventKind.SAVED, EventKind.DROPPED)
_LONGEST_PAUSE = 1024  # steps between two tries while saves keep failing


@dataclass(frozen=True)
class Policy:
    """When to save, what to keep, when to stop.

    Args:
        save: A trigger. keep: a retention rule; everything, by default. stop: a stopping rule, or None.
        best_by: The metric behind the alias ``best``; by default that of the first `KeepBest`, else of the
            first `Improves`.
    """

    save: Trigger
    keep: Retention = KeepAll()
    stop: Stopping | None = None
    best_by: Metric | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.save, Trigger):
            raise PolicyError(f"Policy: save is {self.save!r}; expected a trigger, such as Every(epochs=1)")
        if not isinstance(self.keep, Retention):
            raise PolicyError(f"Policy: keep is {self.keep!r}; expected a retention rule, such as KeepLast(3) or KeepAll()")
        if self.stop is not None and not isinstance(self.stop, Stopping):
            raise PolicyError(f"Policy: stop is {self.stop!r}; expected a stopping rule, such as Patience(val, checks=5)")
        if self.best_by is not None:
            check_metric("Policy: best_by", self.best_by)

    @cached_property
    def leaves(self) -> tuple[Trigger, ...]:
        """The distinct single triggers."""
        return tuple(dict.fromkeys(self.save.leaves()))

    @cached_property
    def best_metric(self) -> Metric | None:
        """The metric behind the alias ``best``."""
        improves = (leaf.metric for leaf in self.leaves if isinstance(leaf, Improves))
        return self.best_by or best_by(self.keep) or next(improves, None)

    @cached_property
    def tracks(self) -> Mapping[Metric, str]:
        """Each metric of the policy with the key of its track in the state.

        The key names the series, not the thresholds, so that a changed ``min_delta`` or ``patience`` takes effect
        at the next resume without forgetting what was measured.
        """
        found: list[Metric] = [leaf.metric for leaf in self.leaves if isinstance(leaf, Improves)]
        found += () if self.stop is None else self.stop.metrics()
        found += [rule.by for rule in self.keep.parts() if getattr(rule, "by", None) is not None]
        found += [self.best_by] if self.best_by else []
        keys: dict[Metric, str] = {}
        # Those of one series are told apart by their place; by warm-up first, so that rules may change their order.
        for metric in sorted(dict.fromkeys(found), key=lambda metric: metric.start_from_epoch):
            base = f"{metric.mode} {metric.series}"
            same = sum(key == base or key.startswith(f"{base} #") for key in keys.values())
            keys[metric] = f"{base} #{same + 1}" if same else base
        return keys

    @cached_property
    def counted(self) -> tuple[str, ...]:
        """Names whose non-finite values are counted."""
        rules = () if self.stop is None else self.stop.parts()
        return tuple(dict.fromkeys(name for rule in rules if isinstance(rule, NonFinite) for name in rule.monitor))

    @cached_property
    def monitored(self) -> frozenset[str]:
        """Every metric name that any rule looks at."""
        return frozenset(self.counted).union(*(metric.names for metric in self.tracks))

    @cached_property
    def follows_time(self) -> bool:
        """Its decisions depend on more than steps, epochs and metrics: on the clock, or on a function."""
        return any(isinstance(leaf, Predicate) or (isinstance(leaf, Every) and leaf.uses_time) for leaf in self.leaves)

    @classmethod
    def from_yaml(cls, path: str | PathLike[str], *, allow_code: bool = False) -> Policy:
        """The policy part of a YAML file; see `ckpt_callbacks.config`."""
        from ..config import Config

        return Config.from_yaml(path, allow_code=allow_code).policy

    def to_yaml(self) -> str:
        """The policy as YAML text that `from_yaml` reads back."""
        from ..config import Config

        return Config(policy=self).to_yaml()


@dataclass(frozen=True)
class Due:
    """State of one `Every` or `At`: thresholds crossed so far, and whether a save for them is still owed."""

    crossed: float
    due: bool


@dataclass(frozen=True)
class Pending:
    """A save that was asked for and has no outcome yet: the intervals it answers, the values it would secure."""

    leaves: tuple[str, ...]
    scores: Mapping[str, float]


@dataclass(frozen=True)
class State:
    """Everything the engine remembers: plain facts, no configuration. `to_json` and `from_json` keep it exactly."""

    step: int = 0
    epoch: int = 0
    time: float = 0.0
    tracks: Mapping[str, Track] = field(default_factory=dict)
    dues: Mapping[str, Due] = field(default_factory=dict)
    non_finite: Mapping[str, int] = field(default_factory=dict)
    pending: Mapping[int, Pending] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()
    saves: int = 0
    failures: int = 0
    retry_step: int = 0

    def to_json(self) -> dict[str, Any]:
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return facts | {
            "version": STATE_VERSION,
            "tracks": {key: track.to_json() for key, track in self.tracks.items()},
            "dues": {key: dataclasses.asdict(due) for key, due in self.dues.items()},
            "non_finite": dict(self.non_finite),
            "pending": {str(k): {"leaves": list(p.leaves), "scores": dict(p.scores)} for k, p in self.pending.items()},
            "seen": sorted(self.seen),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> State:
        version = facts.get("version")
        if not isinstance(version, int) or version > STATE_VERSION:
            raise ResumeError(
                f"policy state: version is {version!r}; expected at most {STATE_VERSION}; install a newer ckpt-callbacks"
            )
        known = {f.name for f in dataclasses.fields(cls)}
        kept = {name: value for name, value in facts.items() if name in known}
        return cls(
            **kept
            | {
                "tracks": {key: Track.from_json(track) for key, track in facts["tracks"].items()},
                "dues": {key: Due(**due) for key, due in facts["dues"].items()},
                "pending": {
                    int(key): Pending(tuple(p["leaves"]), dict(p["scores"])) for key, p in facts["pending"].items()
                },
                "seen": frozenset(facts["seen"]),
            }
        )


@dataclass(frozen=True)
class Save:
    """A save that is asked for. ``scores`` are the compared values of this moment, for the record."""

    id: int
    reasons: tuple[str, ...]
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """Training should stop."""

    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """What `decide` says about one event."""

    save: Save | None = None
    stop: Stop | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """All reasons, those of the save first."""
        return (self.save.reasons if self.save else ()) + (self.stop.reasons if self.stop else ())


class _View:
    """What the triggers see of one event."""

    def __init__(self, policy: Policy, state: State, event: Event) -> None:
        self.event, self._policy, self._state = event, policy, state

    def due(self, leaf: Trigger) -> bool:
        return self._state.dues[repr(leaf)].due

    def improvement(self, metric: Metric) -> float | None:
        key = self._policy.tracks[metric]
        track = self._state.tracks[key]
        value = track.fresh(metric, self.event)
        if value is None:
            return None
        for pending in self._state.pending.values():  # a save under way counts as done, until it is dropped
            if key in pending.scores:
                track = track.with_saved(metric, pending.scores[key])
        return value if metric.improves(value, track.saved) else None


def decide(policy: Policy, state: State, event: Event) -> tuple[State, Decision]:
    """Fold one event into ``state`` and say what to do about it.

    Everything is observed first and decided then, so that no rule starves another. A save that is asked for stays
    pending until `Event.saved` or `Event.dropped` reports its outcome.

    Raises:
        MetricError: a monitored metric could have been logged by now and never was.
    """
    if event.kind in _OUTCOMES:
        return _settle(policy, state, event), Decision()
    tracks, counts, seen = _observe(policy, state, event)
    if event.complete:
        _check_seen(policy, seen)
    dues = _advance(policy, state, event)
    state = dataclasses.replace(
        state,
        step=event.step, epoch=event.epoch, time=event.time,
        tracks=tracks, dues=dues, non_finite=counts, seen=seen,
    )  # fmt: skip
    state, save = _ask_to_save(policy, state, event)
    return state, Decision(save, _ask_to_stop(policy, state, event))


def fold(policy: Policy, events: Iterable[Event], state: State | None = None) -> tuple[State, list[Decision]]:
    """`decide` over a sequence of events, outcomes of saves among them."""
    state, decisions = state or State(), []
    for event in events:
        state, decision = decide(policy, state, event)
        decisions.append(decision)
    return state, decisions


def _observe(
    policy: Policy, state: State, event: Event
) -> tuple[Mapping[str, Track], Mapping[str, int], frozenset[str]]:
    tracks = state.tracks
    missing = [key for key in policy.tracks.values() if key not in tracks]
    if not event.metrics and not missing:
        return tracks, state.non_finite, state.seen
    tracks = {**tracks, **dict.fromkeys(missing, Track())}
    for metric, key in policy.tracks.items():
        tracks[key] = tracks[key].observe(metric, event)
    counts = dict(state.non_finite)
    for name in policy.counted:
        if name in event.metrics:
            counts[name] = 0 if math.isfinite(event.metrics[name]) else counts.get(name, 0) + 1
    return tracks, counts, state.seen.union(event.metrics)


def _check_seen(policy: Policy, seen: frozenset[str]) -> None:
    for metric in policy.tracks:
        weighted = not isinstance(metric.monitor, str) and not isinstance(metric.monitor[0], str)
        found = [name in seen for name in metric.names]
        if not (all(found) if weighted else any(found)):
            logged = ", ".join(sorted(seen)) or "none at all"
            raise MetricError(f"the metric {metric.name!r} was never logged; logged were: {logged}")


def _advance(policy: Policy, state: State, event: Event) -> Mapping[str, Due]:
    dues = dict(state.dues)
    for leaf in policy.leaves:
        crossed = leaf.crossing(event)
        if crossed is None:
            continue
        key = repr(leaf)
        # A rule that is new to this state counts from where the run stood, not from 0.
        before = dues.get(key) or Due(leaf.crossing(_where(state)), False)
        passed = crossed > before.crossed and event.kind is not EventKind.START  # to begin further on crosses nothing
        dues[key] = Due(crossed, before.due or passed)
    return dues


def _where(state: State) -> Event:
    return Event(EventKind.START, step=state.step, epoch=state.epoch, time=state.time)


def _ask_to_save(policy: Policy, state: State, event: Event) -> tuple[State, Save | None]:
    if event.kind is EventKind.START:
        return state, None
    if event.kind is EventKind.STEP_END and event.step < state.retry_step:
        return state, None
    firing = policy.save.check(_View(policy, state, event))
    reasons, leaves = (firing.reasons, firing.leaves) if firing else ((), ())
    if event.kind is EventKind.EXCEPTION and not any(isinstance(leaf, OnException) for leaf in leaves):
        return state, None
    if event.kind is EventKind.END:
        reasons = (*reasons, "end of training")
    if not reasons:
        return state, None
    values = {
        metric: value
        for metric, key in policy.tracks.items()
        if (value := state.tracks[key].fresh(metric, event)) is not None
    }
    pending = Pending(
        leaves=tuple(key for leaf in leaves if (key := repr(leaf)) in state.dues),
        scores={} if event.kind is EventKind.EXCEPTION else {policy.tracks[m]: v for m, v in values.items()},
    )
    scores = {m.series: v for m, v in values.items() if m.smoothing or m.start_from_epoch}
    save = Save(state.saves + 1, reasons, scores)
    # This save answers what older ones under way were to answer, so their outcome does not matter for that any more.
    older = {
        id_: dataclasses.replace(asked, leaves=tuple(leaf for leaf in asked.leaves if leaf not in pending.leaves))
        for id_, asked in state.pending.items()
    }
    answered = {key: Due(state.dues[key].crossed, False) for key in pending.leaves}
    state = dataclasses.replace(
        state, saves=save.id, pending={**older, save.id: pending}, dues={**state.dues, **answered}
    )
    return state, save


def _ask_to_stop(policy: Policy, state: State, event: Event) -> Stop | None:
    if policy.stop is None or event.kind in (EventKind.END, EventKind.EXCEPTION):
        return None
    reasons = policy.stop.reasons(lambda metric: state.tracks[policy.tracks[metric]], state.non_finite)
    return Stop(reasons) if reasons else None


def _settle(policy: Policy, state: State, event: Event) -> State:
    """Fold in the outcome of a save. A dropped one stays owed, and tries grow rarer while they keep failing."""
    pending = dict(state.pending)
    asked = pending.pop(event.save_id, None)
    if asked is None:
        return state
    if event.kind is EventKind.SAVED:
        tracks = dict(state.tracks)
        for metric, key in policy.tracks.items():
            if key in asked.scores and key in tracks:
                tracks[key] = tracks[key].with_saved(metric, asked.scores[key])
        return dataclasses.replace(state, pending=pending, tracks=tracks, failures=0, retry_step=0)
    owed = {key: Due(state.dues[key].crossed, True) for key in asked.leaves if key in state.dues}
    return dataclasses.replace(
        state,
        pending=pending,
        dues={**state.dues, **owed},
        failures=state.failures + 1,
        retry_step=state.step + min(2**state.failures, _LONGEST_PAUSE),
    )
