"""The facts of a record before its file is written."""

import math

import pytest

from ckpt_callbacks import EMA, Event, Every, KeepAll, Metric, NonFinite, Patience, Policy, State, decide, fold
from ckpt_callbacks.policy.draft_record import draft_record

VAL = Metric("val", mode="min", smoothing=EMA(0.5))
POLICY = Policy(Every(epochs=1), KeepAll(), best_by=VAL)
IDENTITY = {"run": "r1", "attempt": 2, "parent": 7}


def drafted(event, *, before=(), measured=None, contents="full"):
    state, _ = fold(POLICY, before)
    state, decision = decide(POLICY, state, event)
    return draft_record(
        decision.save,
        event,
        measured=measured or event,
        policy=POLICY,
        state=state,
        contents=contents,
        metadata={"seed": 1},
        **IDENTITY,
    )


def test_a_draft_says_where_the_run_stands_and_why_it_is_saved():
    record = drafted(Event.epoch_end(step=10, epoch=1, time=5.0, wall=9.0, metrics={"val": 4}))
    assert (record.step, record.epoch, record.time, record.wall) == (10, 1, 5.0, 9.0)
    assert (record.run, record.attempt, record.parent) == ("r1", 2, 7)
    assert record.reasons == ("every 1 epoch",)
    assert record.metadata == {"seed": 1}
    assert (record.id, record.file, record.final, record.exceptional) == (0, "", False, False)


def test_a_draft_carries_the_metrics_of_the_event_that_measured_them():
    first = Event.epoch_end(step=10, epoch=1, metrics={"val": 4})
    record = drafted(Event.epoch_end(step=20, epoch=2, metrics={"val": 2}), before=[first])
    assert record.metrics == {"val": 2.0}
    assert record.scores == {VAL.series: 3.0}
    assert isinstance(record.metrics["val"], float)


def test_the_metrics_of_an_earlier_event_at_the_same_weights_count():
    measured = Event.epoch_end(step=10, epoch=1, metrics={"val": 4})
    record = drafted(Event.end(step=10, epoch=1), before=[measured], measured=measured)
    assert record.metrics == {"val": 4.0} and record.final


@pytest.mark.parametrize(("contents", "resumable"), [("full", True), ("weights", False)])
def test_only_full_checkpoints_are_resumable(contents, resumable):
    record = drafted(Event.demand(step=1), before=[], contents=contents)
    assert (record.contents, record.resumable) == (contents, resumable)


def test_a_state_at_which_a_rule_ends_the_run_for_nan_is_not_resumable():
    policy = Policy(Every(steps=1), KeepAll(), stop=NonFinite("loss", consecutive=2) | Patience(VAL, checks=9))
    state, found = State(), []
    for step, loss in enumerate((1.0, math.nan, 1.0, math.nan, math.inf), 1):
        state, decision = decide(policy, state, event := Event.step_end(step=step, metrics={"loss": loss}))
        record = draft_record(
            decision.save, event, measured=event, policy=policy, state=state, contents="full", metadata={}, **IDENTITY
        )
        found.append((record.finite, record.resumable, decision.stop is None))
    assert found == [(True, True, True)] * 4 + [(False, False, False)]
