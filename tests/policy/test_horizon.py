"""The horizon of a policy: deciding at it alone is deciding at every event."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks.events import Event, EventKind
from ckpt_callbacks.policy.decision import Decision
from ckpt_callbacks.policy.engine import decide, fold, horizon
from ckpt_callbacks.policy.horizon import NEVER, NOW, Horizon
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.pace import Optimal
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.stopping import NonFinite, Reaches, Stopping
from ckpt_callbacks.policy.triggers import At, Every, Improves, OnDeadline, OnException, OnPreempt, Predicate
from tests.support.histories import (
    Move,
    adaptive_leaves,
    adaptive_triggers,
    histories,
    moves,
    outcomes,
    play,
    policies,
    thorough,
    usual,
)
from tests.support.ids import readable

OUTCOMES = (EventKind.SAVED, EventKind.DROPPED)
VAL = Metric("val_loss", mode="min")

steps_alone = st.builds(
    Move, st.just(EventKind.STEP_END), steps=st.integers(0, 6), seconds=st.floats(0, 40), clock=st.floats(-5, 40)
)
begun = st.lists(st.one_of(steps_alone, steps_alone, moves), min_size=5, max_size=40).map(
    lambda more: [Move(EventKind.START, left=120.0), *more]
)

timed = st.lists(st.one_of(steps_alone, steps_alone, outcomes), min_size=20, max_size=40)


def is_before(event, moment):
    return event.step < moment.step and event.time < moment.time and event.wall < moment.wall


@thorough
@given(policies(), begun | histories)
def test_deciding_at_the_horizon_alone_is_deciding_at_every_event(policy, history):
    check_deciding_at_the_horizon_alone(policy, history)


@thorough
@given(st.builds(Policy, adaptive_leaves | adaptive_triggers), timed)
def test_deciding_at_the_horizon_alone_is_enough_where_it_follows_from_costs(policy, history):
    check_deciding_at_the_horizon_alone(policy, history)


def check_deciding_at_the_horizon_alone(policy, history):
    events, step = [], 0
    for event in play(policy, [*history, Move(EventKind.END)]):
        step = step if event.kind in OUTCOMES else event.step
        events.append(replace(event, step=step))
    whole = part = State()
    moment, deadline = NOW, None
    for event in events:
        bare = event.kind is EventKind.STEP_END and not event.metrics and event.epoch == part.epoch
        whole, expected = decide(policy, whole, event)
        if bare and is_before(event, moment):
            assert expected == Decision()
            continue
        part, decision = decide(policy, part, event)
        assert decision == expected
        if event.kind not in OUTCOMES:
            deadline = event.deadline
            assert part == whole
        moment = horizon(policy, part, deadline)
    assert part == whole


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (Every(steps=100), Horizon(step=100)),
        (Every(epochs=1), NEVER),
        (At(steps=[3, 70, 90]), Horizon(step=70)),
        (At(steps=[3]), NEVER),
        (At(epochs=[1]), NEVER),
        (Improves(VAL) | OnPreempt() | OnException(), NEVER),
        (Every(steps=100) | At(steps=[70]), Horizon(step=70)),
        (~Every(steps=100) & Improves(VAL), Horizon(step=100)),
        (OnDeadline(60), Horizon(wall=940)),
        (OnDeadline(60, end=500), Horizon(wall=440)),
        (~Every(steps=100), NOW),
        (~Improves(VAL), NOW),
        (~OnDeadline(60), NOW),
        (Predicate(lambda event: False), NOW),
    ],
    ids=readable,
)
def test_the_horizon_of_a_trigger(trigger, expected):
    policy = Policy(trigger)
    state, _ = fold(policy, [Event.start(), Event.step_end(step=42, time=1.0, deadline=1000.0)])
    found = horizon(policy, state, 1000.0)
    assert found == expected if expected is not NOW else found.step <= 42


def test_without_a_start_every_event_counts():
    assert horizon(Policy(Every(steps=9)), State()) == NOW
    assert horizon(Policy(Improves(VAL)), State()) == NOW


def test_a_stop_that_holds_is_said_at_every_event():
    policy = Policy(OnPreempt(), stop=Reaches(VAL, 1.0))
    state, _ = fold(policy, [Event.start(), Event.epoch_end(step=9, epoch=1, metrics={"val_loss": 0.5})])
    assert horizon(policy, state) == NOW


def test_a_stopping_rule_of_the_users_own_is_asked_at_every_event():
    class Own(Stopping):
        def reasons(self, track_of, counts):
            return ()

    started, _ = fold(Policy(OnPreempt()), [Event.start()])
    assert horizon(Policy(OnPreempt(), stop=Reaches(VAL, 1.0) | Own()), started) == NOW
    assert horizon(Policy(OnPreempt(), stop=NonFinite("loss")), started) == NEVER


def test_a_save_that_failed_is_tried_again_after_its_pause():
    policy = Policy(Every(steps=10))
    state, decision = fold(policy, [Event.start(), Event.step_end(step=10)])
    late = replace(Event.dropped(decision[-1].save.id, "full"), step=17)  # of a write in the background
    state, _ = decide(policy, state, late)
    state, decision = decide(policy, state, Event.step_end(step=18))
    state, _ = decide(policy, state, Event.dropped(decision.save.id, "full"))
    assert horizon(policy, state).step == state.retry_step == 20


@pytest.mark.parametrize(
    ("trigger", "moment"), [(Every(overhead=0.01), 200.0), (Optimal(10000), 10 + Optimal(10000).pace.interval(0.5))]
)
def test_what_goes_by_costs_can_be_due_once_they_are_paid(trigger, moment):
    policy = Policy(trigger)
    state, decision = fold(policy, [Event.start(), Event.step_end(step=1, time=10.0)])
    assert horizon(policy, state) == NEVER  # the cost of a pending save is unknown
    state, _ = decide(policy, state, Event.saved(decision[-1].save.id, blocked=0.5))
    state = replace(state, costs=replace(state.costs, blocked=1.5))
    assert horizon(policy, state) == Horizon(time=moment)
    state, _ = decide(policy, replace(state, failures=1, retry_step=9), Event.step_end(step=2, time=moment))
    assert horizon(policy, state) == Horizon(step=9)  # due, and not asked for: as after a save that failed


@usual
@given(st.sampled_from(["seconds", "minutes", "hours"]), st.floats(1e-3, 1e6), st.floats(0, 1e8))
def test_a_moment_is_found_too_early_rather_than_too_late(unit, n, time):
    policy = Policy(Every(**{unit: n}))
    (leaf,) = policy.leaves
    state, _ = fold(policy, [Event.start(time=time)])
    moment, crossed = horizon(policy, state).time, leaf.threshold_count(Event.step_end(time=time))
    assert leaf.threshold_count(Event.step_end(time=math.nextafter(moment, 0))) <= crossed
    assert leaf.threshold_count(Event.step_end(time=moment * (1 + 1e-9))) > crossed
