"""The engine: a fold over events.

Pure: no clock, no input or output, no randomness.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

from ..errors import MetricError
from ..events import Event, EventKind
from .composition import Trigger
from .decision import Decision, Save, Stop
from .horizon import NEVER, NOW, Horizon
from .metric import Metric
from .missing_metrics import problem_of_missing
from .policy import Policy
from .state import IntervalState, Pending, State
from .stopping import name_of_batch
from .track import CHECKS, Track

_OUTCOMES = (EventKind.SAVED, EventKind.DROPPED)
_ALWAYS = {EventKind.END: "end of training", EventKind.DEMAND: "on demand"}  # saved regardless of the policy
_LONGEST_PAUSE = 1024  # steps between two attempts while saves keep failing


class _StateView:
    """The `EventView` of one event."""

    def __init__(self, policy: Policy, state: State, event: Event) -> None:
        self.event, self._policy, self._state = event, policy, state
        self.costs, self.saving = state.costs, bool(state.pending)

    def is_owed(self, trigger: Trigger) -> bool:
        return self._state.intervals[trigger.key].owed

    def improvement(self, metric: Metric) -> float | None:
        key = self._policy.tracks[metric]
        track = self._state.tracks[key]
        value = track.fresh(metric, self.event)
        if value is None:
            return None
        for pending in self._state.pending.values():  # a pending save counts as done unless it is dropped
            if key in pending.scores:
                track = track.with_saved(metric, pending.scores[key])
        return value if metric.improves(value, track.saved) else None


def decide(policy: Policy, state: State, event: Event) -> tuple[State, Decision]:
    """Return the state after one event, and what to do about it.

    Everything is observed before anything is decided, so that no rule starves another. A requested save stays pending
    until `Event.saved` or `Event.dropped` reports its outcome.

    Args:
        policy: The policy.
        state: The state before the event; `State()` for a new run.
        event: The event.

    Raises:
        MetricError: A monitored metric should have been logged by now, but was not; see `problem_of_missing`.
    """
    state, decision = decide_before_error(policy, state, event)
    if decision.error:
        raise MetricError(decision.error)
    return state, decision


def decide_before_error(policy: Policy, state: State, event: Event) -> tuple[State, Decision]:
    """Do the same as `decide`, but return an error with the save that must come before it."""
    if event.kind in _OUTCOMES:
        return _settle(policy, state, event), Decision()
    if event.kind is EventKind.START:
        state = dataclasses.replace(state, fresh_names=frozenset(), fresh_joint_keys=frozenset(), fresh_epochs=0)
    state, error = _observe(policy, state, event), event.error or ""
    if event.complete:
        whole, fresh = state.whole_epochs + 1, state.fresh_epochs + 1
        state = dataclasses.replace(state, whole_epochs=whole, fresh_epochs=fresh)
        error = error or problem_of_missing(policy, state, event.others)
    intervals = _advance(policy, state, event)
    if any(intervals.get(key) != state.intervals.get(key) for key in (leaf.key for leaf in policy.deadlines)):
        state = dataclasses.replace(state, failures=0, retry_step=0)  # no time to wait after earlier failures
    state = dataclasses.replace(state, step=event.step, epoch=event.epoch, time=event.time, intervals=intervals)
    state, save = _ask_to_save(policy, state, event, error)
    return state, Decision(save, _ask_to_stop(policy, state, event), error)


def deadline_is_due(policy: Policy, state: State, event: Event) -> bool:
    """Return whether a deadline is near at ``event``, and no save has answered it yet.

    Call it before `decide` if more events follow at the same step, because a save that waits for the metrics of a
    validation might come too late.

    Args:
        policy: The policy.
        state: The state after the last event; it is not changed.
        event: The event that ends the step, or would end it.
    """
    near = [leaf for leaf in policy.deadlines if leaf.threshold_count(event) is not None]
    intervals = _advance(policy, state, event) if near else {}
    return any(intervals[leaf.key].owed for leaf in near)


def horizon(policy: Policy, state: State, deadline: float | None = None) -> Horizon:
    """Return the first step, training time and time of day at which the end of a step can have any effect.

    Until one of them is reached, a `STEP_END` event of the same epoch that brings no metrics may be left out: `decide`
    would ask for nothing at it, and makes the same decision about every later event without having seen it.

    The triggers keep giving their present answer to such an event until the first of them reaches its `quiet_until`. So
    if they ask for no save now, they ask for none until then; otherwise the horizon is now, or the step from which a
    failed save may be tried again.

    Args:
        policy: The policy.
        state: The state after the last event.
        deadline: The deadline of the events to come; see `Event`.
    """
    nearest = NEVER
    for leaf in policy.leaves:
        nearest = nearest.earlier(leaf.quiet_until(state, deadline))
    begun = all(key in state.tracks for key in policy.tracks.values())
    steady = policy.stop is None or policy.stop.only_on_metrics
    if not begun or not steady or nearest.step <= state.step or _stop_reasons(policy, state):
        return NOW
    # A wall time of -inf is far from every deadline, and no deadline comes near before the horizon.
    event = Event(EventKind.STEP_END, state.step, state.epoch, state.time, wall=-math.inf, deadline=deadline)
    saves = policy.save.check(_StateView(policy, state, event)) is not None
    return nearest.earlier(Horizon(step=state.retry_step)) if saves else nearest


def fold(policy: Policy, events: Iterable[Event], state: State | None = None) -> tuple[State, list[Decision]]:
    """Return the state after a sequence of events, and the decision about each of them.

    Args:
        policy: The policy.
        events: The events, the outcomes of saves included.
        state: The state before them; by default, that of a new run.
    """
    state, decisions = state or State(), []
    for event in events:
        state, decision = decide(policy, state, event)
        decisions.append(decision)
    return state, decisions


def _observe(policy: Policy, state: State, event: Event) -> State:
    missing = [key for key in policy.tracks.values() if key not in state.tracks]
    if not event.metrics and not missing and event.kind not in CHECKS:
        return state
    tracks = {**state.tracks, **dict.fromkeys(missing, Track())}
    joint = set()
    for metric, key in policy.tracks.items():
        tracks[key] = tracks[key].observe(metric, event)
        if metric.joint_key and metric.measure(event.metrics) is not None:
            joint.add(metric.joint_key)
    counts = dict(state.non_finite)
    for name in policy.non_finite_names:
        value = event.metrics.get(name, event.metrics.get(name_of_batch(name)))
        if value is not None:
            counts[name] = 0 if math.isfinite(value) else counts.get(name, 0) + 1
    return dataclasses.replace(
        state,
        tracks=tracks,
        non_finite=counts,
        logged_names=state.logged_names.union(event.metrics),
        joint_keys=state.joint_keys | joint,
        fresh_names=state.fresh_names.union(event.metrics),
        fresh_joint_keys=state.fresh_joint_keys | joint,
    )


def _advance(policy: Policy, state: State, event: Event) -> Mapping[str, IntervalState]:
    intervals = dict(state.intervals)
    for leaf in policy.leaves:
        count = leaf.threshold_count(event)
        if count is None:
            continue
        key = leaf.key
        # A rule that is new to this state counts from the position of the run, not from 0.
        before = intervals.get(key) or IntervalState(leaf.threshold_count(_last_event(state)) or 0, False)
        intervals[key] = IntervalState(count, before.owed or leaf.becomes_due(before.crossed, count, event))
    return intervals


def _last_event(state: State) -> Event:
    # The state holds no time of day, so use one that is before every deadline.
    return Event(EventKind.START, step=state.step, epoch=state.epoch, time=state.time, wall=-math.inf)


def scores_at(policy: Policy, state: State, event: Event) -> dict[str, float]:
    """Return the smoothed values measured at ``event``, the last observed event, by `Metric.series`."""
    return {m.series: v for m, v in _values_at(policy, state, event).items() if m.smoothing or m.start_from_epoch}


def _values_at(policy: Policy, state: State, event: Event) -> dict[Metric, float]:
    return {
        metric: value
        for metric, key in policy.tracks.items()
        if (value := state.tracks[key].fresh(metric, event)) is not None
    }


def _ask_to_save(policy: Policy, state: State, event: Event, error: str) -> tuple[State, Save | None]:
    if event.kind is EventKind.START:
        return state, None
    if event.kind is EventKind.STEP_END and event.step < state.retry_step:
        return state, None
    firing = policy.save.check(_StateView(policy, state, event))
    reasons, leaves = (firing.reasons, firing.leaves) if firing else ((), ())
    if event.kind is EventKind.EXCEPTION and not any(event.kind in leaf.kinds for leaf in leaves):
        return state, None
    if error:
        reasons = (*reasons, "before an error about a metric")
    if event.kind in _ALWAYS and not (policy.names_are_given and event.kind is EventKind.END):
        reasons = (*reasons, _ALWAYS[event.kind])
        if event.kind is EventKind.END:
            reasons += tuple(f"stopped: {why}" for why in _stop_reasons(policy, state))
    if not reasons:
        return state, None
    values = _values_at(policy, state, event)
    pending = Pending(
        triggers=tuple(key for leaf in leaves if (key := leaf.key) in state.intervals),
        scores={} if event.kind is EventKind.EXCEPTION else {policy.tracks[m]: v for m, v in values.items()},
        time=event.time,
    )
    save = Save(state.saves + 1, reasons, scores_at(policy, state, event))
    # This save also answers the triggers of older pending saves, whose outcomes no longer matter to those triggers.
    older = {
        id_: dataclasses.replace(asked, triggers=tuple(key for key in asked.triggers if key not in pending.triggers))
        for id_, asked in state.pending.items()
    }
    answered = {key: IntervalState(state.intervals[key].crossed, False) for key in pending.triggers}
    state = dataclasses.replace(
        state, saves=save.id, pending={**older, save.id: pending}, intervals={**state.intervals, **answered}
    )
    return state, save


def _ask_to_stop(policy: Policy, state: State, event: Event) -> Stop | None:
    if event.kind in (EventKind.END, EventKind.EXCEPTION):
        return None
    reasons = _stop_reasons(policy, state)
    return Stop(reasons) if reasons else None


def _stop_reasons(policy: Policy, state: State) -> tuple[str, ...]:
    if policy.stop is None:
        return ()
    return policy.stop.reasons(lambda metric: state.tracks[policy.tracks[metric]], state.non_finite)


def _settle(policy: Policy, state: State, event: Event) -> State:
    """Return the state after the outcome of a save.

    A dropped save stays owed, and attempts become rarer while they keep failing.
    """
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
    owed = {key: IntervalState(state.intervals[key].crossed, True) for key in asked.triggers if key in state.intervals}
    state = dataclasses.replace(state, pending=pending, intervals={**state.intervals, **owed})
    if event.busy:  # nothing failed: it is requested again at the next step
        return state
    return dataclasses.replace(
        state,
        costs=state.costs.with_dropped(event.blocked),
        failures=state.failures + 1,
        retry_step=max(state.step, event.step) + min(2**state.failures, _LONGEST_PAUSE),
    )
