"""Measurements of a metric that is logged at each batch."""

import json

import pytest

from ckpt_callbacks import (
    Event,
    Every,
    Improves,
    KeepBest,
    Mean,
    Metric,
    Patience,
    Policy,
    PolicyError,
    Record,
    State,
    decide,
    fold,
)
from ckpt_callbacks.policy.ranking import best_record
from ckpt_callbacks.policy.track import Track

LOSS = Metric("loss", mode="min")
EACH = Metric("loss", mode="min", per="step")


def batches(*losses, first=1):
    return [Event.step_end(step=n, metrics={"loss": loss}) for n, loss in enumerate(losses, first)]


def epoch_end(step, epoch, **metrics):
    return Event.epoch_end(step=step, epoch=epoch, metrics=metrics)


def played(policy, events, state=None):
    """Play events whose saves all succeed; return the state and the reasons at each event."""
    state, found = state or State(), []
    for event in events:
        state, decision = decide(policy, state, event)
        found.append(decision.reasons)
        if decision.save:
            state, _ = decide(policy, state, Event.saved(decision.save.id))
    return state, found


@pytest.mark.parametrize("end", [epoch_end(3, 1, loss=3.0), epoch_end(3, 1), Event.validation_end(step=3)])
def test_patience_counts_one_measurement_at_the_end_of_an_epoch_or_a_validation(end):
    policy = Policy(Every(epochs=9), stop=Patience(LOSS, checks=1))
    state, found = played(policy, [*batches(1.0, 2.0, 3.0), end])
    assert found == [()] * 4 and state.tracks["min loss"] == Track((3.0,), 3.0, best=3.0, reached=3.0, checks=1)
    _, found = played(policy, [*batches(9.0, 4.0, first=4), epoch_end(5, 2)], state)
    assert found == [(), (), ("loss did not improve in 1 check (best 3)",)]


def test_an_epoch_without_a_value_counts_nothing():
    state, _ = played(Policy(Improves(LOSS)), [*batches(1.0), epoch_end(1, 1), epoch_end(2, 2)])
    assert state.tracks["min loss"].checks == 1


def test_steps_count_if_they_are_asked_for_and_the_reasons_say_so():
    policy = Policy(Improves(EACH), stop=Patience(EACH, checks=2))
    assert played(policy, batches(1.0, 0.5, 0.6, 0.7))[1] == [
        ("loss improved to 1 at a step",),
        ("loss improved to 0.5 at a step",),
        (),
        ("loss did not improve in 2 steps (best 0.5)",),
    ]


def test_improves_saves_once_an_epoch_for_the_value_of_its_last_batch():
    events = [*batches(0.5, 0.4), epoch_end(2, 1, loss=0.4), *batches(0.1, 0.3, first=3), epoch_end(4, 2, loss=0.3)]
    assert played(Policy(Improves(LOSS)), events)[1] == [
        (), (), ("loss improved to 0.4",), (), (), ("loss improved to 0.3",),
    ]  # fmt: skip
    # A value of an earlier batch is not that of the weights at the end, so nothing is saved for it.
    assert played(Policy(Improves(LOSS)), [*batches(0.5), epoch_end(2, 1)])[1] == [(), ()]


@pytest.mark.parametrize(("metric", "best"), [(LOSS, 2), (EACH, 2), (Metric("loss", mode="min", smoothing=Mean(2)), 3)])
def test_a_checkpoint_ranks_by_its_own_value_and_by_averages_of_measurements(metric, best):
    policy, state, records = Policy(Every(steps=1), KeepBest(1, by=metric)), State(), []
    for event in (*batches(0.9, 0.1), epoch_end(3, 1, loss=0.5)):
        state, decision = decide(policy, state, event)
        facts = {"step": event.step, "epoch": event.epoch, "metrics": event.metrics, "scores": decision.save.scores}
        records.append(Record(event.step, "", **facts))
        state, _ = decide(policy, state, Event.saved(decision.save.id))
        state = State.from_json(json.loads(json.dumps(state.to_json())))
    assert best_record(records, metric).id == best


def test_the_state_of_an_earlier_version_counts_on():
    state = State.from_json({
        **State().to_json(),
        "tracks": {"min loss": {"memory": [0.5], "value": 0.5, "best": 0.5, "saved": 0.5, "checks": 7, "stale": 2}},
    })  # fmt: skip
    policy = Policy(Improves(LOSS), stop=Patience(LOSS, checks=3))
    _, decisions = fold(policy, [*batches(0.6, 0.7), epoch_end(2, 1, loss=0.8)], state)
    assert [decision.reasons for decision in decisions] == [(), (), ("loss did not improve in 3 checks (best 0.5)",)]


def test_both_ways_of_counting_have_a_track_of_their_own():
    policy = Policy(Improves(LOSS) | Improves(EACH))
    assert policy.tracks == Policy(Improves(EACH) | Improves(LOSS)).tracks == {LOSS: "min loss", EACH: "min loss #2"}
    state, _ = played(policy, [*batches(1.0, 2.0), epoch_end(2, 1)])
    assert [state.tracks[key].checks for key in ("min loss", "min loss #2")] == [1, 2]


def test_another_way_of_counting_is_refused():
    with pytest.raises(PolicyError, match=r"Metric\('loss'\): per is 'batch'; expected 'epoch' or 'step'"):
        Metric("loss", mode="min", per="batch")
