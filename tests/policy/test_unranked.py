"""Why no checkpoint of a run is the best."""

import dataclasses
import math
import re

import pytest

from ckpt_callbacks import EMA, Event, Every, KeepBest, Metric, Patience, Policy, Record, fold
from ckpt_callbacks.policy.unranked import ranking_metrics, why_unranked

VAL = Metric("val_loss", mode="min")


def why(metric, events, records):
    policy = Policy(Every(steps=1), KeepBest(1, by=metric))
    state, _ = fold(policy, events)
    assert ranking_metrics(policy) == (metric,)
    return why_unranked(metric, policy, state, records)


def validated(**metrics):
    return [Event.validation_end(step=3, metrics=metrics), Event.epoch_end(step=4, epoch=1)]


@pytest.mark.parametrize(
    ("metric", "events", "words"),
    [
        (
            VAL,
            validated(val_loss=1.0),
            "never at a step that was saved; .*, add Improves.Metric.'val_loss', mode='min'",
        ),
        (VAL, validated(loss=1.0), "^it was never logged; logged names: loss; does training have validation data.$"),
        (VAL, validated(val_loss=math.nan), "none of its values was finite"),
        (dataclasses.replace(VAL, nan="skip"), validated(val_loss=math.inf), "none of its values was finite"),
        (
            dataclasses.replace(VAL, start_from_epoch=5),
            validated(val_loss=1.0),
            "start_from_epoch=5 epochs, and 1 were",
        ),
        (Metric({"a": 1, "b": 1}, mode="min"), validated(a=1.0), "^it was never logged; logged names: a$"),
        (VAL, [], "^none of them has a value of it; they have values of loss; does training have validation data.$"),
        (Metric("los", mode="min"), [], "they have values of loss; did you mean 'loss'.$"),
        (Metric("loss", mode="min", smoothing=EMA(0.3)), [], "^they have values of it, but not its average"),
        (Metric("loss", mode="min", start_from_epoch=5), [], "^it counts only after start_from_epoch=5 epochs$"),
        (Metric("loss", mode="min", smoothing=EMA(0.3)), validated(loss=math.nan), "but not its average"),
    ],
)
def test_each_reason_is_named(metric, events, words):
    record = Record(1, "a.ckpt", step=4, epoch=1, metrics={"loss": 1.0})
    assert re.search(words, why(metric, events, [record]))


def test_checkpoints_without_any_value_are_named_as_such():
    record = Record(1, "a.ckpt", step=4, epoch=1)
    assert why(VAL, [], [record]) == "none of them has a value of any metric; does training have validation data?"


def test_rules_that_never_ran_are_named():
    policy = Policy(Every(steps=1), KeepBest(1, by=VAL), stop=Patience(VAL, checks=2))
    state, _ = fold(policy, validated(val_acc=1.0))
    record = Record(1, "a.ckpt", metrics={"val_acc": 1.0})
    assert why_unranked(VAL, policy, state, [record]).endswith("names: val_acc; early stopping by it never ran")


def test_a_value_of_unusable_weights_is_no_rank():
    record = Record(1, "a.ckpt", metrics={"val_loss": 1.0})
    assert why(VAL, [], [record]) == ""
    assert "NaN or infinity" in why(VAL, [], [record.replace(finite=False)])


def test_a_policy_without_a_metric_ranks_nothing():
    assert ranking_metrics(Policy(Every(steps=1))) == ()
