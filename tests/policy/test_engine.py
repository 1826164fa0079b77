"""The engine's decisions."""

import pytest

from ckpt_callbacks.errors import MetricError
from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.decision import Decision, Save, Stop
from ckpt_callbacks.policy.engine import decide, fold
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.retention import KeepBest, KeepEvery, KeepLast, KeepTagged
from ckpt_callbacks.policy.smoothing import EMA, Mean, Median
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.stopping import NonFinite, Patience, Reaches
from ckpt_callbacks.policy.triggers import Every, Improves, OnException, OnPreempt
from tests.policy.scripts import ACC, NAN, VAL, epoch_end, never, play, saved_flags


def test_the_example_of_the_design():
    val = Metric("val_loss", mode="min", smoothing=EMA(0.3), min_delta=1e-3)
    policy = Policy(
        save=Every(epochs=1) | Every(minutes=20) | Improves(val) | OnPreempt(),
        keep=KeepLast(3) | KeepBest(2, by=val) | KeepEvery(epochs=10) | KeepTagged("release"),
        stop=Patience(val, checks=5, start_from_epoch=3) | NonFinite(["train_loss", "loss"], consecutive=1),
    )
    state, decision = decide(policy, State(), Event.epoch_end(step=100, epoch=1, time=60.0, metrics={"val_loss": 0.4}))
    assert decision.save.reasons == ("every 1 epoch", "ema(0.3) of val_loss improved to 0.4")
    assert decision == Decision(
        save=Save(1, ("every 1 epoch", "ema(0.3) of val_loss improved to 0.4"), {"ema(0.3) of val_loss": 0.4}),
        stop=None,
    )
    assert (state.step, state.epoch, state.time) == (100, 1, 60.0)


@pytest.mark.parametrize(
    "save",
    [
        Improves(Metric("val_loss", mode="min", smoothing=Mean(3))),
        Every(epochs=1) | Improves(Metric("val_loss", mode="min", smoothing=Mean(3))),
        OnPreempt() & Improves(Metric("val_loss", mode="min", smoothing=Mean(3))),
        ~Improves(Metric("val_loss", mode="min", smoothing=Mean(3))),
    ],
    ids=["alone", "or", "and", "not"],
)
def test_no_combination_starves_a_smoother(save):
    policy = Policy(save=save)
    state, _ = play(policy, epoch_end(1, val_loss=9.0), epoch_end(2, val_loss=6.0), epoch_end(3, val_loss=3.0))
    assert state.tracks["min mean(3) of val_loss"].value == 6.0


def test_saves_that_wait_do_not_starve_a_smoother():
    policy = Policy(save=Every(steps=1) | Improves(Metric("loss", mode="min", smoothing=Mean(4), per="step")))
    events = [Event.step_end(step=n, metrics={"loss": float(n)}) for n in (1, 2, 3, 4)]
    state, decisions = play(policy, events[0], "dropped", events[1], "dropped", events[2], events[3])
    assert [decision.save is not None for decision in decisions] == [True, True, False, True]  # 3 waits
    assert state.tracks["min mean(4) of loss"].memory == (1.0, 2.0, 3.0, 4.0)


def test_rules_that_name_the_same_metric_share_its_memory():
    val = Metric("val_loss", mode="min", smoothing=Mean(2))
    same = Metric("val_loss", mode="min", smoothing=Mean(2))
    policy = Policy(
        save=Improves(val) | Every(epochs=1) & Improves(same), keep=KeepBest(1, by=same), stop=Patience(val, checks=3)
    )
    state, _ = play(policy, epoch_end(1, val_loss=1.0), epoch_end(2, val_loss=3.0))
    assert {key: track.memory for key, track in state.tracks.items()} == {"min mean(2) of val_loss": (1.0, 3.0)}


def test_metrics_of_one_series_with_other_thresholds_are_kept_apart():
    strict = Metric("val_loss", mode="min", min_delta=0.5)
    policy = Policy(save=Improves(VAL) & Improves(strict))
    state, _ = play(policy, epoch_end(1, val_loss=1.0), epoch_end(2, val_loss=0.9))
    assert sorted(track.best for track in state.tracks.values()) == [0.9, 1.0]


def test_records_get_every_smoothed_value_of_the_moment():
    ema, median = (Metric("val_loss", mode="min", smoothing=s) for s in (EMA(0.5), Median(3)))
    accuracy = Metric("acc", mode="max", smoothing=Mean(2))
    policy = Policy(
        save=Every(epochs=1) | Improves(ema), keep=KeepBest(1, by=median) | KeepBest(1, by=VAL), best_by=accuracy
    )
    _, decisions = play(
        policy, epoch_end(1, val_loss=4.0, acc=0.5), epoch_end(2, val_loss=2.0), epoch_end(3, val_loss=NAN, acc=0.25)
    )
    assert [decision.save.scores for decision in decisions] == [
        {"ema(0.5) of val_loss": 4.0, "median(3) of val_loss": 4.0, "mean(2) of acc": 0.5},
        {"ema(0.5) of val_loss": 3.0, "median(3) of val_loss": 3.0},
        {"mean(2) of acc": 0.375},
    ]


@pytest.mark.parametrize(
    ("script", "saves"),
    [
        # a dropped best is not the best that was saved
        ([epoch_end(1, val_loss=0.5), "saved", epoch_end(2, val_loss=0.3), "dropped", epoch_end(3, val_loss=0.4)],
         [True, True, True]),
        ([epoch_end(1, val_loss=0.5), "saved", epoch_end(2, val_loss=0.3), "saved", epoch_end(3, val_loss=0.4)],
         [True, True, False]),
        ([epoch_end(1, val_loss=0.5), "dropped", epoch_end(2, val_loss=0.9)], [True, True]),
        # a save under way counts until it is dropped
        ([epoch_end(1, val_loss=0.5), epoch_end(2, val_loss=0.6)], [True, False]),
        ([epoch_end(1, val_loss=0.5), epoch_end(2, val_loss=0.4), "dropped", epoch_end(3, val_loss=0.45)],
         [True, True, True]),
        # what another trigger saved counts as well
        ([epoch_end(1, val_loss=0.5), "saved", Event.preempt(step=150, epoch=1, metrics={"val_loss": 0.2}), "saved",
          epoch_end(2, val_loss=0.3)], [True, True, False]),
        # worse values that were saved change nothing
        ([epoch_end(1, val_loss=0.5), "saved", Event.preempt(step=150, epoch=1, metrics={"val_loss": 0.9}), "saved",
          epoch_end(2, val_loss=0.6)], [True, True, False]),
        # a save without a value of its own is no best
        ([epoch_end(1, val_loss=0.5), "saved", Event.preempt(step=150, epoch=1), "saved", epoch_end(2, val_loss=0.4)],
         [True, True, True]),
        # nor is what was saved while training failed
        ([epoch_end(1, val_loss=0.5), "saved", Event.exception(step=150, epoch=1, metrics={"val_loss": 0.1}), "saved",
          epoch_end(2, val_loss=0.4)], [True, True, True]),
    ],
)  # fmt: skip
def test_improves_compares_with_the_best_that_was_saved(script, saves):
    assert saved_flags(Policy(save=Improves(VAL) | OnPreempt() | OnException()), *script) == saves


def test_a_save_secures_each_metric_by_itself():
    policy = Policy(save=Improves(VAL) | Improves(ACC))
    _, decisions = play(
        policy,
        epoch_end(1, val_loss=0.5, acc=0.5), "saved",
        epoch_end(2, val_loss=0.4, acc=0.9), "dropped",
        epoch_end(3, val_loss=0.6, acc=0.8), "saved",
        epoch_end(4, val_loss=0.45, acc=0.7),
    )  # fmt: skip
    assert [decision.reasons for decision in decisions] == [
        ("val_loss improved to 0.5", "acc improved to 0.5"),
        ("val_loss improved to 0.4", "acc improved to 0.9"),
        ("acc improved to 0.8",),
        ("val_loss improved to 0.45",),
    ]


def test_smoothed_and_raw_improve_apart():
    val = Metric("val_loss", mode="min", smoothing=EMA(0.5))
    policy = Policy(save=Improves(val) | Improves(val.raw))
    _, decisions = play(
        policy,
        epoch_end(1, val_loss=1.0), "saved",
        epoch_end(2, val_loss=0.25), "saved",  # smoothed: 0.625
        epoch_end(3, val_loss=0.5), "saved",  # smoothed: 0.5625
    )  # fmt: skip
    assert [decision.reasons for decision in decisions] == [
        ("ema(0.5) of val_loss improved to 1", "val_loss improved to 1"),
        ("ema(0.5) of val_loss improved to 0.625", "val_loss improved to 0.25"),
        ("ema(0.5) of val_loss improved to 0.5625",),
    ]


def test_saves_are_numbered_and_a_decision_lists_all_reasons():
    policy = Policy(save=Every(epochs=1), stop=Reaches(VAL, 0.5))
    _, decisions = play(policy, epoch_end(1, val_loss=0.9), epoch_end(2, val_loss=0.5))
    assert [decision.save.id for decision in decisions] == [1, 2]
    assert decisions[1].stop == Stop(("val_loss reached 0.5 (goal 0.5)",))
    assert decisions[1].reasons == ("every 1 epoch", "val_loss reached 0.5 (goal 0.5)")
    assert Decision().reasons == ()


@pytest.mark.parametrize(
    ("policy", "metrics", "message"),
    [
        (Policy(save=Improves(VAL)), {"loss": 0.5, "acc": 0.9},
         "the metric 'val_loss' was never logged; logged names: acc, loss"),
        (Policy(save=Improves(VAL)), {}, "the metric 'val_loss' was never logged; logged names: none at all"),
        (Policy(save=never & ~Improves(VAL)), {"loss": 0.5}, "the metric 'val_loss' was never logged"),
        (Policy(save=never, keep=KeepBest(1, by=VAL)), {"loss": 0.5}, "the metric 'val_loss' was never logged"),
        (Policy(save=never, stop=Patience(VAL, checks=2)), {"loss": 0.5}, "the metric 'val_loss' was never logged"),
        (Policy(save=never, best_by=VAL), {"loss": 0.5}, "the metric 'val_loss' was never logged"),
        (Policy(save=never, best_by=Metric("val_loss", mode="min", start_from_epoch=5)), {"loss": 0.5},
         "the metric 'val_loss' was never logged"),
        (Policy(save=never, best_by=Metric(["train_loss", "loss"], mode="min")), {"acc": 0.5},
         "the metric 'train_loss or loss' was never logged; logged names: acc"),
        (Policy(save=never, best_by=Metric({"a": 1, "b": 2}, mode="min")), {"a": 0.5},
         r"the metric 'a \+ 2\*b' was never logged; logged names: a"),
    ],
)  # fmt: skip
def test_a_metric_that_was_never_logged_is_an_error_once_it_could_have_been(policy, metrics, message):
    before = [Event.start(), Event.step_end(step=1), Event.epoch_end(epoch=1, complete=False)]
    state, _ = fold(policy, before + [Event.epoch_end(epoch=1, metrics=metrics)] * 9)
    with pytest.raises(MetricError, match=f"{message}.*; 10 epochs have ended since the start; ") as caught:
        decide(policy, state, Event.epoch_end(epoch=1, metrics=metrics))
    assert "\n" not in str(caught.value)


SUM = Metric({"a": 1, "b": 2}, mode="min", nan="skip", start_from_epoch=1)


def test_a_sum_whose_parts_are_never_logged_together_is_an_error_once_they_could_have_been():
    policy = Policy(save=never, best_by=SUM)
    state, _ = fold(policy, [Event.step_end(step=1, metrics={"a": 0.5, "c": 0.5}), Event.validation_end(step=1)])
    with pytest.raises(MetricError) as caught:
        decide(policy, state, Event.epoch_end(step=2, epoch=1, metrics={"b": 0.5}))
    assert str(caught.value) == (
        "the metric 'a + 2*b' was never measured: a, b were logged, but never together; "
        "log them at the same moment, such as the end of an epoch"
    )


@pytest.mark.parametrize(
    ("policy", "events"),
    [
        (Policy(save=never, best_by=SUM), [Event.epoch_end(epoch=1, metrics={"a": 0.5, "b": 0.5})]),
        # measured once, if only in the warm-up and not finite
        (Policy(save=never, best_by=SUM), [Event.validation_end(metrics={"a": NAN, "b": 0.5}),
                                           Event.epoch_end(epoch=1, metrics={"a": 0.5})]),
        (Policy(save=Improves(VAL)), [Event.epoch_end(epoch=1, metrics={"val_loss": 0.5}), Event.epoch_end(epoch=2)]),
        (Policy(save=Improves(VAL)), [Event.epoch_end(epoch=1, metrics={"val_loss": NAN})]),
        (Policy(save=Improves(VAL)), [Event.validation_end(metrics={"val_loss": 0.5}), Event.epoch_end(epoch=1)]),
        (Policy(save=Improves(VAL)), [Event.epoch_end(epoch=1, complete=False)]),
        (Policy(save=Improves(VAL)), [Event.step_end(step=1), Event.end(step=1)]),
        (Policy(save=never, stop=NonFinite(["train_loss", "loss"])), [Event.epoch_end(epoch=1)]),
        (Policy(save=Improves(Metric(["train_loss", "loss"], mode="min"))),
         [Event.epoch_end(epoch=1, metrics={"loss": 1.0})]),
    ],
)  # fmt: skip
def test_a_metric_that_was_logged_once_or_still_can_be_is_no_error(policy, events):
    state, decisions = fold(policy, events)
    assert len(decisions) == len(events)
    assert (state.step, state.epoch) == (events[-1].step, events[-1].epoch)


def test_folding_nothing_changes_nothing():
    state = State(step=3)
    assert fold(Policy(save=never), [], state) == (state, [])
