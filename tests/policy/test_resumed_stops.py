"""Stopping rules in resumed runs, with the same rule or another one."""

import json

import pytest

from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.engine import decide, fold
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.retention import KeepBest
from ckpt_callbacks.policy.smoothing import EMA
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.stopping import Diverges, NonFinite, Patience, Reaches
from ckpt_callbacks.policy.triggers import Improves, OnPreempt
from tests.policy.stops import NAN, VAL, epochs, stops, val
from tests.support.ids import readable


def through_json(state):
    return State.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)))


@pytest.mark.parametrize(
    ("rule", "curve"),
    [
        (Patience(VAL, checks=2), [0.5, 0.6, 0.6]),
        (Patience(VAL, checks=2, start_from_epoch=1), [0.1, 0.5, 0.6, 0.6]),
        (Reaches(VAL, 0.3), [0.5, 0.2]),
        (Diverges(VAL, 3.0), [0.5, 4.0]),
        (NonFinite("val_loss", consecutive=2), [NAN, NAN]),
        (Patience(VAL, checks=2) | NonFinite("val_loss"), [0.5, NAN, NAN]),
    ],
    ids=readable,
)
def test_a_stop_holds_again_when_the_stopped_run_is_resumed(rule, curve):
    policy = Policy(save=OnPreempt(), stop=rule)
    state, decisions = fold(policy, epochs(curve))
    start = Event.start(step=10 * len(curve), epoch=len(curve))
    _, resumed = decide(policy, through_json(state), start)
    assert resumed.stop == decisions[-1].stop is not None


@pytest.mark.parametrize(
    ("old", "new", "then", "stops_now"),
    [
        # the state after 0.5, 0.6, 0.6 is: best 0.5, two stale checks
        (Patience(VAL, checks=2), Patience(VAL, checks=4), [], False),
        (Patience(VAL, checks=2), Patience(VAL, checks=4), [0.6], False),
        (Patience(VAL, checks=2), Patience(VAL, checks=4), [0.6, 0.6], True),
        (Patience(VAL, checks=9), Patience(VAL, checks=2), [], True),
        (Patience(VAL, checks=9), Patience(val(min_delta=0.25), checks=3), [0.4], True),  # 0.4 is too little now
        (Patience(val(min_delta=0.25), checks=9), Patience(VAL, checks=3), [0.4], False),
        (Patience(VAL, checks=9), Patience(val(baseline=0.1), checks=3), [0.4], True),
        (Patience(VAL, checks=9), Patience(val(nan="skip"), checks=3), [NAN], False),
        (Patience(VAL, checks=9), Patience(VAL, checks=3), [NAN], True),
        (Patience(VAL, checks=9), Patience(val(smoothing=EMA(0.5)), checks=1), [], False),  # another series
        (Patience(VAL, checks=9), Patience(VAL, checks=2) | NonFinite("loss"), [], True),
        (Patience(VAL, checks=9), NonFinite("loss") | Reaches(VAL, 0.6), [], True),
    ],
    ids=readable,
)
def test_a_changed_rule_takes_effect_on_the_old_state(old, new, then, stops_now):
    state, _ = fold(Policy(save=OnPreempt(), stop=old), epochs([0.5, 0.6, 0.6]))
    events = [Event.start(step=30, epoch=3), *epochs(then, first=4)]
    assert bool(stops(new, events, through_json(state))[-1]) is stops_now


def test_rules_that_change_places_keep_their_own_memory():
    """Two metrics of one series, apart in warm-up: 0.1 in epoch 1 is the best for one, and unseen by the other."""
    patience = Patience(VAL, checks=2, start_from_epoch=1)
    before = Policy(save=Improves(VAL), stop=patience)
    after = Policy(save=OnPreempt(), keep=KeepBest(1, by=VAL), stop=patience)
    state, decisions = fold(before, epochs([0.1, 0.5, 0.4, 0.3]))
    assert decisions[-1].stop is None
    _, resumed = decide(after, through_json(state), Event.start(step=40, epoch=4))
    assert resumed.stop is None
