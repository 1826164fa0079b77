"""The engine: a fold over events. Pure: no clock, no input or output, no randomness."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import MetricError
from ..events import Event, EventKind
from .composition import Trigger
from .metric import Metric
from .policy import Policy
from .state import Due, Pending, State
from .track import Track
from .triggers import OnException

_OUTCOMES = (EventKind.SAVED, EventKind.DROPPED)
_ALWAYS = {EventKind.END: "end of training", EventKind.DEMAND: "on demand"}  # saved whatever the policy says
_LONGEST_PAUSE = 1024  # steps between two tries while saves keep failing


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
        self.costs, self.saving = state.costs, bool(state.pending)

    def due(self, leaf: Trigger) -> bool:
        return self._state.dues[leaf.key].due

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
    if any(dues.get(key) != state.dues.get(key) for key in (leaf.key for leaf in policy.deadlines)):
        state = dataclasses.replace(state, failures=0, retry_step=0)  # no time to wait out what failed before
    state = dataclasses.replace(
        state,
        step=event.step, epoch=event.epoch, time=event.time,
        tracks=tracks, dues=dues, non_finite=counts, seen=seen,
    )  # fmt: skip
    state, save = _ask_to_save(policy, state, event)
    return state, Decision(save, _ask_to_stop(policy, state, event))


def cannot_wait(policy: Policy, state: State, event: Event) -> bool:
    """Whether a deadline is near at ``event``, and no save has answered it yet.

    To be asked before `decide` where more is to follow at the same step: a save that would wait for a validation's
    metrics might come too late. ``event`` is the one that ends the step, or would; nothing is folded in.
    """
    near = [leaf for leaf in policy.deadlines if leaf.crossing(event) is not None]
    dues = _advance(policy, state, event) if near else {}
    return any(dues[leaf.key].due for leaf in near)


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
    sums = [
        metric.together for metric in policy.tracks if metric.together and metric.measure(event.metrics) is not None
    ]
    return tracks, counts, state.seen.union(event.metrics, sums)


def _check_seen(policy: Policy, seen: frozenset[str]) -> None:
    for metric in policy.tracks:
        found = [name in seen for name in metric.names]
        if not (all(found) if metric.together else any(found)):
            raise MetricError(f"the metric {metric.name!r} {never_logged(seen)}")
        if metric.together and metric.together not in seen:
            raise MetricError(
                f"the metric {metric.name!r} was never measured: {', '.join(metric.names)} were logged, but never "
                "together; log them at the same moment, such as the end of an epoch"
            )


def never_logged(seen: Iterable[str]) -> str:
    """What is said of a name that is none of the metrics that were ``seen``."""
    return f"was never logged; logged were: {', '.join(sorted(seen)) or 'none at all'}"


def _advance(policy: Policy, state: State, event: Event) -> Mapping[str, Due]:
    dues = dict(state.dues)
    for leaf in policy.leaves:
        crossed = leaf.crossing(event)
        if crossed is None:
            continue
        key = leaf.key
        # A rule that is new to this state counts from where the run stood, not from 0.
        before = dues.get(key) or Due(leaf.crossing(_where(state)) or 0, False)
        dues[key] = Due(crossed, before.due or leaf.crosses(before.crossed, crossed, event))
    return dues


def _where(state: State) -> Event:
    # The state holds no time of day: before every deadline.
    return Event(EventKind.START, step=state.step, epoch=state.epoch, time=state.time, wall=-math.inf)


def scores_at(policy: Policy, state: State, event: Event) -> dict[str, float]:
    """The smoothed values that were measured at ``event``, the last one that ``state`` was told, by `Metric.series`."""
    return {m.series: v for m, v in _fresh(policy, state, event).items() if m.smoothing or m.start_from_epoch}


def _fresh(policy: Policy, state: State, event: Event) -> dict[Metric, float]:
    return {
        metric: value
        for metric, key in policy.tracks.items()
        if (value := state.tracks[key].fresh(metric, event)) is not None
    }


def _ask_to_save(policy: Policy, state: State, event: Event) -> tuple[State, Save | None]:
    if event.kind is EventKind.START:
        return state, None
    if event.kind is EventKind.STEP_END and event.step < state.retry_step:
        return state, None
    firing = policy.save.check(_View(policy, state, event))
    reasons, leaves = (firing.reasons, firing.leaves) if firing else ((), ())
    if event.kind is EventKind.EXCEPTION and not any(isinstance(leaf, OnException) for leaf in leaves):
        return state, None
    if event.kind in _ALWAYS:
        reasons = (*reasons, _ALWAYS[event.kind])
        if event.kind is EventKind.END:
            reasons += tuple(f"stopped: {why}" for why in _stop_reasons(policy, state))
    if not reasons:
        return state, None
    values = _fresh(policy, state, event)
    pending = Pending(
        leaves=tuple(key for leaf in leaves if (key := leaf.key) in state.dues),
        scores={} if event.kind is EventKind.EXCEPTION else {policy.tracks[m]: v for m, v in values.items()},
        time=event.time,
    )
    save = Save(state.saves + 1, reasons, scores_at(policy, state, event))
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
    if event.kind in (EventKind.END, EventKind.EXCEPTION):
        return None
    reasons = _stop_reasons(policy, state)
    return Stop(reasons) if reasons else None


def asks_for_something(policy: Policy, state: State, event: Event) -> tuple[bool, bool]:
    """Whether a rule asks for a save, and one for a stop, at an ``event`` that changes nothing in ``state``."""
    return policy.save.check(_View(policy, state, event)) is not None, bool(_stop_reasons(policy, state))


def _stop_reasons(policy: Policy, state: State) -> tuple[str, ...]:
    if policy.stop is None:
        return ()
    return policy.stop.reasons(lambda metric: state.tracks[policy.tracks[metric]], state.non_finite)


def _settle(policy: Policy, state: State, event: Event) -> State:
    """Fold in the outcome of a save. A dropped one stays owed, and tries grow rarer while they keep failing."""
    pending = dict(state.pending)
    asked = None if event.save_id is None else pending.pop(event.save_id, None)
    if asked is None:
        return state
    if event.kind is EventKind.SAVED:
        tracks = dict(state.tracks)
        for metric, key in policy.tracks.items():
            if key in asked.scores and key in tracks:
                tracks[key] = tracks[key].with_saved(metric, asked.scores[key])
        costs = state.costs.with_saved(asked.time, event.blocked)
        return dataclasses.replace(state, pending=pending, tracks=tracks, costs=costs, failures=0, retry_step=0)
    owed = {key: Due(state.dues[key].crossed, True) for key in asked.leaves if key in state.dues}
    state = dataclasses.replace(state, pending=pending, dues={**state.dues, **owed})
    if event.busy:  # nothing failed: it is asked for again with the next step
        return state
    return dataclasses.replace(
        state,
        costs=state.costs.with_dropped(event.blocked),
        failures=state.failures + 1,
        retry_step=max(state.step, event.step) + min(2**state.failures, _LONGEST_PAUSE),
    )
