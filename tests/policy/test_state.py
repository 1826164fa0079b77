"""The engine's state, as plain JSON."""

import copy
import json
import math

import pytest

from ckpt_callbacks.errors import MetricError, ResumeError
from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.engine import decide, fold
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.retention import KeepBest
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.stopping import NonFinite, Patience
from ckpt_callbacks.policy.triggers import Every, Improves, Predicate
from tests.policy.scripts import ACC, VAL, epoch_end, play


def test_the_state_is_plain_json():
    policy = Policy(
        save=Every(steps=10) | Improves(VAL) | Predicate(bool), stop=NonFinite("loss"), keep=KeepBest(1, by=ACC)
    )
    event = Event.validation_end(step=10, epoch=2, time=1.5, metrics={"val_loss": 0.5, "loss": math.inf})
    state, _ = decide(policy, State(), event)
    assert state.to_json() == {
        "version": 1,
        "step": 10,
        "epoch": 2,
        "time": 1.5,
        "tracks": {
            "min val_loss": {"memory": [0.5], "value": 0.5, "best": 0.5, "saved": None, "checks": 1, "stale": 0},
            "max acc": {"memory": [], "value": None, "best": None, "saved": None, "checks": 0, "stale": 0},
        },
        "dues": {"Every(steps=10)": {"crossed": 1, "due": False}},
        "non_finite": {"loss": 1},
        "pending": {"1": {"leaves": ["Every(steps=10)"], "scores": {"min val_loss": 0.5}, "time": 1.5}},
        "seen": ["loss", "val_loss"],
        "saves": 1,
        "failures": 0,
        "retry_step": 0,
        "costs": {"blocked": 0.0, "recent": [], "asked": None},
        "whole_epochs": 0,
        "fresh": {"seen": ["loss", "val_loss"], "epochs": 0},
    }
    assert State.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False))) == state


def test_logged_names_are_distinguished_from_measured_sums():
    policy = Policy(save=Improves(Metric({"a": 1, "b": 2}, mode="min")))
    state, _ = decide(policy, State(), Event.step_end(step=1, metrics={"a": 1.0, "b": 1.0, "c": 1.0}))
    assert (state.logged_names, state.joint_keys) == ({"a", "b", "c"}, {"a + 2*b (together)"})
    assert state.to_json()["seen"] == ["a", "a + 2*b (together)", "b", "c"]  # as earlier versions wrote it
    assert State.from_json(json.loads(json.dumps(state.to_json()))) == state
    with pytest.raises(MetricError, match=r"'d' was never logged; logged names: a, b, c; 10 epochs"):
        fold(Policy(save=Improves(Metric("d", mode="min"))), [Event.epoch_end(step=2, epoch=1)] * 10, state)


def test_a_fresh_state_comes_back_from_json():
    assert State.from_json(json.loads(json.dumps(State().to_json()))) == State()


@pytest.mark.parametrize("version", [2, 99, None, "1", 1.0])
def test_a_state_of_another_version_is_refused(version):
    with pytest.raises(ResumeError, match=r"policy state: version is .*expected at most 1; install a newer"):
        State.from_json(State().to_json() | {"version": version})


def test_a_state_without_a_version_is_refused():
    with pytest.raises(ResumeError, match="version is None"):
        State.from_json({})


def test_facts_that_are_unknown_to_this_version_are_dropped():
    assert State.from_json(State(step=3).to_json() | {"mood": "good"}) == State(step=3)


def test_the_state_holds_no_configuration():
    """The same history under other thresholds leaves a state that either policy can go on from."""
    strict = Policy(save=Improves(Metric("val_loss", mode="min", min_delta=10.0)), stop=Patience(VAL, checks=1))
    lax = Policy(save=Improves(VAL), stop=Patience(VAL, checks=9))
    state, decisions = play(strict, epoch_end(1, val_loss=0.5), "saved", epoch_end(2, val_loss=0.5))
    assert [decision.stop is not None for decision in decisions] == [False, True]
    _, resumed = play(lax, Event.start(step=200, epoch=2), epoch_end(3, val_loss=0.4), state=state)
    assert resumed[0].stop is None
    assert resumed[1].reasons == ("val_loss improved to 0.4",)


def test_deciding_changes_neither_the_policy_nor_the_state_nor_the_event():
    policy = Policy(save=Every(steps=1) | Improves(VAL), keep=KeepBest(1, by=VAL), stop=NonFinite("val_loss"))
    event = Event.step_end(step=1, metrics={"val_loss": 0.5})
    state, decision = decide(policy, State(), event)
    before = copy.deepcopy((policy, state, event))
    again = Event.step_end(step=2, metrics={"val_loss": 0.4})
    first = decide(policy, state, again)
    decide(policy, state, Event.saved(decision.save.id))
    decide(policy, state, Event.dropped(decision.save.id, "disk full"))
    assert (policy, state, event) == before
    assert decide(policy, state, again) == first
