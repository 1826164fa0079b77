"""Measuring, comparing and ranking by a metric.

All expectations are worked out by hand.
"""

import math
import sys

import pytest

from ckpt_callbacks.errors import PolicyError
from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.engine import decide
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.ranking import best_record
from ckpt_callbacks.policy.smoothing import EMA, Mean, Median
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.track import Track
from ckpt_callbacks.policy.triggers import Every
from ckpt_callbacks.record import Record
from tests.support.ids import readable

NAN, INF = math.nan, math.inf
VAL = Metric("val_loss", mode="min")
ACC = Metric("acc", mode="max")


def val(**options):
    return Metric("val_loss", mode="min", **options)


def track_after_each(metric, curve, name="val_loss"):
    """The track after each epoch's end; None in the curve is an epoch without the metric."""
    track, tracks = Track(), []
    for i, value in enumerate(curve):
        track = track.observe(metric, Event.epoch_end(epoch=i + 1, metrics={} if value is None else {name: value}))
        tracks.append(track)
    return tracks


# -- direction and names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "", None, "MIN", "lower"])
def test_the_direction_is_never_guessed(mode):
    with pytest.raises(PolicyError, match=r"Metric\('val_loss'\): mode is .*expected 'min' or 'max'.*never guessed"):
        Metric("val_loss", mode=mode)
    with pytest.raises(TypeError, match="mode"):
        Metric("val_loss")


@pytest.mark.parametrize(
    ("monitor", "name", "names"),
    [
        ("val/loss", "val/loss", ("val/loss",)),
        (["train_loss", "loss"], "train_loss or loss", ("train_loss", "loss")),
        (["loss"], "loss", ("loss",)),
        ({"a": 1, "b": 0.5}, "a + 0.5*b", ("a", "b")),
        ({"a": 2.0, "b": 0.12345678}, "2*a + 0.12345678*b", ("a", "b")),
        ([("a", 1.0), ["b", -1]], "a + -1*b", ("a", "b")),
    ],
)
def test_a_metric_has_a_name(monitor, name, names):
    metric = Metric(monitor, mode="min")
    assert (metric.name, metric.names) == (name, names)


@pytest.mark.parametrize(
    ("monitor", "metrics", "value"),
    [
        ("loss", {"loss": 0.5}, 0.5),
        ("loss", {"loss": 0.0}, 0.0),
        ("loss", {"val_loss": 0.5}, None),
        (["train_loss", "loss"], {"loss": 0.5}, 0.5),
        (["train_loss", "loss"], {"loss": 0.5, "train_loss": 0.25}, 0.25),
        (["train_loss", "loss"], {"loss": 0.5, "train_loss": NAN}, NAN),  # it exists, so it wins
        (["train_loss", "loss"], {}, None),
        ({"a": 1, "b": 0.5}, {"a": 1.0, "b": 4.0}, 3.0),
        ({"a": 1, "b": 0.5}, {"a": 1.0}, None),
        ({"a": 1, "b": 0.5}, {"a": 1.0, "b": NAN}, NAN),
        ({"a": 1, "b": -1}, {"a": INF, "b": INF}, NAN),
    ],
)
def test_what_a_metric_measures(monitor, metrics, value):
    assert Metric(monitor, mode="min").measure(metrics) == pytest.approx(value, nan_ok=True)


def test_a_metric_is_a_value():
    assert Metric(["a", "b"], mode="min") == Metric(("a", "b"), mode="min") != Metric(["b", "a"], mode="min")
    assert Metric({"a": 1}, mode="max", smoothing=EMA(0.5)) == Metric((("a", 1),), mode="max", smoothing=EMA(0.5))
    assert len({Metric({"a": 1, "b": 2}, mode="min"), Metric({"a": 1, "b": 2}, mode="min"), VAL}) == 2


def test_raw_is_the_same_metric_without_smoothing():
    smoothed = val(smoothing=EMA(0.3), min_delta=0.1, start_from_epoch=2, nan="skip")
    assert smoothed.raw == val(min_delta=0.1, start_from_epoch=2, nan="skip")
    assert VAL.raw == VAL


@pytest.mark.parametrize(
    ("metric", "series"),
    [
        (VAL, "val_loss"),
        (val(min_delta=0.5, baseline=1.0, start_from_epoch=3), "val_loss"),  # thresholds are no part of it
        (val(smoothing=EMA(0.3)), "ema(0.3) of val_loss"),
        (val(smoothing=EMA(1)), "ema(1) of val_loss"),
        (val(smoothing=EMA(1.0)), "ema(1) of val_loss"),  # equal metrics, one series
        (val(smoothing=EMA(0.123456789)), "ema(0.123456789) of val_loss"),
        (val(smoothing=Mean(5)), "mean(5) of val_loss"),
        (val(smoothing=Median(3)), "median(3) of val_loss"),
    ],
)
def test_a_series_is_named_by_its_metric_and_smoothing(metric, series):
    assert metric.series == series


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Metric("", mode="min"), "monitor is ''; expected a metric's name"),
        (lambda: Metric([], mode="min"), r"monitor is \[\]"),
        (lambda: Metric({}, mode="min"), "monitor is"),
        (lambda: Metric(5, mode="min"), "monitor is 5"),
        (lambda: Metric([1, 2], mode="min"), r"monitor is \[1, 2\]"),
        (lambda: Metric(["a", ""], mode="min"), "monitor is"),
        (lambda: Metric(["a", ("b", 1)], mode="min"), "monitor is"),
        (lambda: Metric({"a": NAN}, mode="min"), "monitor is"),
        (lambda: Metric({"a": "1"}, mode="min"), "monitor is"),
        (lambda: Metric({"": 1}, mode="min"), "monitor is"),
        (lambda: val(smoothing=0.3), "smoothing is 0.3; expected EMA, Mean or Median"),
        (lambda: val(min_delta=-0.1), "min_delta is -0.1; expected a finite number of at least 0"),
        (lambda: val(min_delta=NAN), "min_delta is nan"),
        (lambda: val(min_delta=True), "min_delta is True"),
        (lambda: val(min_delta_mode="percent"), "min_delta_mode is 'percent'; expected 'abs' or 'rel'"),
        (lambda: val(baseline=INF), "baseline is inf"),
        (lambda: val(start_from_epoch=-1), "start_from_epoch is -1; expected a whole number of at least 0"),
        (lambda: val(start_from_epoch=1.5), "start_from_epoch is 1.5"),
        (lambda: val(nan="ignore"), "nan is 'ignore'; expected 'stale' or 'skip'"),
        (lambda: val(min_delta=10**400), "min_delta is 1000"),
        (lambda: Metric([("a", 1), ("a", 2)], mode="min"), "monitor is"),
        (lambda: EMA(True), "EMA: alpha is True"),
        (lambda: EMA(0), r"EMA: alpha is 0; expected a number in \(0, 1\]"),
        (lambda: EMA(1.5), "EMA: alpha is 1.5"),
        (lambda: EMA("0.3"), "EMA: alpha is '0.3'"),
        (lambda: EMA(NAN), "EMA: alpha is nan"),
        (lambda: Mean(0), "Mean: window is 0; expected a whole number of at least 1"),
        (lambda: Median(2.5), "Median: window is 2.5"),
        (lambda: Median(True), "Median: window is True"),
    ],
)
def test_a_metric_that_makes_no_sense_is_refused_when_it_is_built(build, message):
    with pytest.raises(PolicyError, match=message):
        build()


# -- improvement -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "value", "on", "improves"),
    [
        (VAL, 0.5, None, True),
        (VAL, 0.4, 0.5, True),
        (VAL, 0.5, 0.5, False),
        (VAL, 0.0, 0.5, True),
        (VAL, 0.5, 0.0, False),
        (ACC, 0.6, 0.5, True),
        (ACC, 0.5, 0.5, False),
        (ACC, 0.0, -0.5, True),
        # by more than min_delta, not by just as much (numbers that floats hold exactly)
        (val(min_delta=0.25), 0.75, 1.0, False),
        (val(min_delta=0.25), 0.74, 1.0, True),
        (Metric("acc", mode="max", min_delta=0.25), 1.25, 1.0, False),
        (Metric("acc", mode="max", min_delta=0.25), 1.26, 1.0, True),
        # a fraction of the best so far, whatever its sign
        (val(min_delta=0.25, min_delta_mode="rel"), 1.5, 2.0, False),
        (val(min_delta=0.25, min_delta_mode="rel"), 1.4, 2.0, True),
        (val(min_delta=0.25, min_delta_mode="rel"), -2.5, -2.0, False),
        (val(min_delta=0.25, min_delta_mode="rel"), -2.6, -2.0, True),
        (val(min_delta=0.25, min_delta_mode="rel"), -0.1, 0.0, True),
        (Metric("acc", mode="max", min_delta=0.25, min_delta_mode="rel"), 2.5, 2.0, False),
        (Metric("acc", mode="max", min_delta=0.25, min_delta_mode="rel"), 2.6, 2.0, True),
        # the baseline is a hurdle for a first value, and stays one while what was saved is worse
        (val(baseline=0.5), 0.6, None, False),
        (val(baseline=0.5), 0.5, None, False),
        (val(baseline=0.5), 0.4, None, True),
        (val(baseline=0.5), 0.6, 0.9, False),
        (val(baseline=0.5), 0.4, 0.9, True),
        (val(baseline=0.5), 0.4, 0.3, False),
        (val(baseline=0.5, min_delta=0.25), 0.3, None, False),
        (val(baseline=0.5, min_delta=0.25), 0.2, None, True),
        (val(baseline=0.0), 0.1, None, False),
        (Metric("acc", mode="max", baseline=0.5), 0.4, None, False),
        (Metric("acc", mode="max", baseline=0.5), 0.6, 0.1, True),
        (Metric("acc", mode="max", baseline=0.5), 0.4, 0.1, False),
        # huge values neither overflow nor win
        (val(min_delta=1.0, min_delta_mode="rel"), -1e308, 1e308, True),
        (val(min_delta=10.0, min_delta_mode="rel"), -1e308, 1e308, False),
    ],
)
def test_what_counts_as_an_improvement(metric, value, on, improves):
    assert metric.improves(value, on) is improves


# -- smoothing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("smoothing", "curve", "smoothed"),
    [
        (None, [1.0, 3.0, 2.0], [1.0, 3.0, 2.0]),
        (EMA(0.5), [1.0, 2.0, 4.0], [1.0, 1.5, 2.75]),
        (EMA(0.25), [4.0, 8.0, 1.0], [4.0, 5.0, 4.0]),
        (EMA(1), [1.0, 5.0, 2.0], [1.0, 5.0, 2.0]),
        (Mean(1), [1.0, 5.0], [1.0, 5.0]),
        (Mean(2), [1.0, 3.0, 6.0], [1.0, 2.0, 4.5]),
        (Mean(4), [1.0, 3.0, 5.0, 7.0, 9.0], [1.0, 2.0, 3.0, 4.0, 6.0]),
        (Median(3), [1.0, 9.0, 2.0, 3.0, 100.0], [1.0, 5.0, 2.0, 3.0, 3.0]),
        (Median(2), [4.0, 2.0, 8.0], [4.0, 3.0, 5.0]),
        # an epoch without the metric leaves the last value; what is not finite never enters the smoother
        (EMA(0.5), [1.0, None, 2.0], [1.0, 1.0, 1.5]),
        (EMA(0.5), [1.0, NAN, 2.0], [1.0, None, 1.5]),
        (EMA(0.5), [NAN, 3.0], [None, 3.0]),
        (Mean(2), [1.0, INF, 3.0, -INF], [1.0, None, 2.0, None]),
        (Median(3), [1.0, NAN, 5.0, 3.0], [1.0, None, 3.0, 3.0]),
        # the sum of large values is no infinity
        (Mean(3), [1e308, 1e308, 1e308], [1e308, 1e308, 1e308]),
        (Median(2), [1e308, 1e308], [1e308, 1e308]),
        (Median(2), [1e308, -1e308], [1e308, 0.0]),
    ],
)
def test_what_is_compared_is_the_smoothed_value(smoothing, curve, smoothed):
    tracks = track_after_each(val(smoothing=smoothing), curve)
    assert [track.value for track in tracks] == pytest.approx(smoothed)


@pytest.mark.parametrize("smoothing", [EMA(0.3), EMA(0.9), Mean(3), Mean(7), Median(2), Median(3)], ids=readable)
@pytest.mark.parametrize("constant", [0.1, 0.7, 1e-3, 5e-324, sys.float_info.max, -sys.float_info.max])
def test_a_constant_stays_exactly_what_it_is(smoothing, constant):
    """Rounding would make a constant creep, and creeping downwards looks like an improvement."""
    tracks = track_after_each(val(smoothing=smoothing), [constant] * 20)
    assert {track.value for track in tracks} == {constant}
    assert tracks[-1].stale == 19


# -- warm-up and what is not finite ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "curve", "checks", "stale", "best"),
    [
        (VAL, [0.5, 0.6, 0.4, 0.4], [1, 2, 3, 4], [0, 1, 0, 1], [0.5, 0.5, 0.4, 0.4]),
        (VAL, [0.5, None, None, 0.6], [1, 1, 1, 2], [0, 0, 0, 1], [0.5, 0.5, 0.5, 0.5]),
        (VAL, [NAN, 0.5, INF, -INF], [1, 2, 3, 4], [1, 0, 1, 2], [None, 0.5, 0.5, 0.5]),
        (val(nan="skip"), [NAN, 0.5, INF, 0.6], [0, 1, 1, 2], [0, 0, 0, 1], [None, 0.5, 0.5, 0.5]),
        (val(start_from_epoch=2), [0.1, 0.2, 0.5, 0.6], [0, 0, 1, 2], [0, 0, 0, 1], [None, None, 0.5, 0.5]),
        (val(start_from_epoch=2), [NAN, NAN, 0.5, NAN], [0, 0, 1, 2], [0, 0, 0, 1], [None, None, 0.5, 0.5]),
        (val(baseline=0.5), [0.6, 0.5, 0.4], [1, 2, 3], [1, 2, 0], [None, None, 0.4]),
        (val(min_delta=0.25), [1.0, 0.9, 0.7, 0.5], [1, 2, 3, 4], [0, 1, 0, 1], [1.0, 1.0, 0.7, 0.7]),
    ],
)
def test_stale_counts_follow_the_measurements(metric, curve, checks, stale, best):
    tracks = track_after_each(metric, curve)
    assert [track.checks for track in tracks] == checks
    assert [track.stale for track in tracks] == stale
    assert [track.best for track in tracks] == best


def test_the_warm_up_feeds_the_smoother_but_has_no_value():
    tracks = track_after_each(val(smoothing=Mean(3), start_from_epoch=2), [9.0, 6.0, 3.0])
    assert [track.value for track in tracks] == [None, None, 6.0]


@pytest.mark.parametrize(
    ("event", "compared"),
    [
        # epochs are counted from 0, as in Keras: with start_from_epoch=2 the third epoch is the first that counts
        (Event.epoch_end(epoch=2, metrics={"val_loss": 1.0}), False),
        (Event.epoch_end(epoch=3, metrics={"val_loss": 1.0}), True),
        (Event.step_end(epoch=1, metrics={"val_loss": 1.0}), False),
        (Event.step_end(epoch=2, metrics={"val_loss": 1.0}), True),
        (Event.validation_end(epoch=1, metrics={"val_loss": 1.0}), False),
        (Event.validation_end(epoch=2, metrics={"val_loss": 1.0}), True),
    ],
)
def test_the_warm_up_ends_with_its_last_epoch(event, compared):
    metric = val(start_from_epoch=2)
    track = Track().observe(metric, event)
    assert (track.checks, track.fresh(metric, event)) == ((1, 1.0) if compared else (0, None))


@pytest.mark.parametrize(
    ("metric", "metrics"),
    [
        (VAL, {}),
        (VAL, {"loss": 0.1}),
        (VAL, {"val_loss": NAN}),
        (val(nan="skip"), {"val_loss": NAN}),
        (val(smoothing=EMA(0.5)), {"val_loss": INF}),
    ],
)
def test_an_older_value_is_never_fresh(metric, metrics):
    track = Track().observe(metric, Event.epoch_end(epoch=1, metrics={"val_loss": 0.5}))
    later = Event.epoch_end(epoch=2, metrics=metrics)
    assert track.observe(metric, later).fresh(metric, later) is None


def test_skipping_is_as_if_it_had_not_been_measured():
    metric = val(nan="skip", smoothing=EMA(0.5))
    before, after = track_after_each(metric, [0.5, NAN])
    assert after == before


# -- ranking ---------------------------------------------------------------------------------------------------------

EMA_VAL = val(smoothing=EMA(0.3))


def record(id=1, **facts):
    return Record(id, f"{id}.ckpt", **facts)


@pytest.mark.parametrize(
    ("metric", "facts", "score"),
    [
        (VAL, {"metrics": {"val_loss": 0.5}}, 0.5),
        (VAL, {"metrics": {"val_loss": 0.0}}, 0.0),
        (VAL, {"metrics": {"loss": 0.5}}, None),
        (VAL, {"metrics": {"val_loss": NAN}}, None),
        (VAL, {"metrics": {"val_loss": -INF}}, None),
        (VAL, {"metrics": {"val_loss": 0.5}, "scores": {"ema(0.3) of val_loss": 0.7}}, 0.5),
        (EMA_VAL, {"metrics": {"val_loss": 0.5}, "scores": {"ema(0.3) of val_loss": 0.7}}, 0.7),
        (EMA_VAL, {"metrics": {"val_loss": 0.5}, "scores": {"mean(3) of val_loss": 0.7}}, None),
        (EMA_VAL, {"metrics": {"val_loss": 0.5}}, None),
        (EMA_VAL, {"scores": {"ema(0.3) of val_loss": NAN}}, None),
        (Metric({"a": 1, "b": 2}, mode="min"), {"metrics": {"a": 1.0, "b": 1.5}}, 4.0),
        (Metric({"a": 1, "b": 2}, mode="min"), {"metrics": {"a": 1.0}}, None),
        # the warm-up is not compared, so it does not rank either
        (val(start_from_epoch=3), {"epoch": 2, "metrics": {"val_loss": 0.5}}, None),
        (val(start_from_epoch=3), {"epoch": 4, "metrics": {"val_loss": 0.5}}, 0.5),
        (val(start_from_epoch=3), {"epoch": 3, "metrics": {"val_loss": 0.5}}, None),  # the end of the third epoch
        (val(start_from_epoch=3), {"epoch": 3, "metrics": {"val_loss": 0.5}, "scores": {"val_loss": 0.5}}, 0.5),
        (val(start_from_epoch=3, smoothing=EMA(0.3)), {"epoch": 2, "scores": {"ema(0.3) of val_loss": 0.7}}, None),
    ],
)
def test_what_ranks_a_record(metric, facts, score):
    assert metric.score(record(**facts)) == score


@pytest.mark.parametrize(
    ("event", "ranks"),
    [
        (Event.epoch_end(step=30, epoch=3, metrics={"val_loss": 0.5}), False),  # the last epoch of the warm-up
        (Event.validation_end(step=35, epoch=3, metrics={"val_loss": 0.5}), True),  # in mid-epoch, one later
        (Event.epoch_end(step=40, epoch=4, metrics={"val_loss": 0.5}), True),
    ],
)
@pytest.mark.parametrize("smoothing", [None, EMA(0.3)], ids=readable)
def test_a_record_ranks_exactly_when_its_event_was_compared(event, ranks, smoothing):
    metric = val(start_from_epoch=3, smoothing=smoothing)
    _, decision = decide(Policy(save=Every(steps=1), best_by=metric), State(), event)
    saved = record(step=event.step, epoch=event.epoch, metrics=event.metrics, scores=decision.save.scores)
    assert metric.score(saved) == (0.5 if ranks else None)


@pytest.mark.parametrize(
    ("metric", "records", "best"),
    [
        (VAL, [], None),
        (None, [record(1, metrics={"val_loss": 0.5})], None),
        (VAL, [record(1, metrics={"val_loss": 0.5}), record(2, metrics={"val_loss": 0.4})], 2),
        (ACC, [record(1, metrics={"acc": 0.5}), record(2, metrics={"acc": 0.4})], 1),
        (VAL, [record(2, metrics={"val_loss": 0.5}), record(1, metrics={"val_loss": 0.5})], 1),  # the older of equals
        (VAL, [record(1, metrics={"val_loss": NAN}), record(2, metrics={"val_loss": 9.0})], 2),
        (VAL, [record(1, metrics={"val_loss": -INF}), record(2, metrics={"val_loss": 9.0})], 2),
        (ACC, [record(1, metrics={"acc": NAN}), record(2, metrics={"acc": INF}), record(3)], None),
        (VAL, [record(1, metrics={"val_loss": 0.1}, exceptional=True), record(2, metrics={"val_loss": 0.5})], 2),
        (VAL, [record(1, metrics={"val_loss": 0.1}, superseded=True), record(2, metrics={"val_loss": 0.5})], 2),
    ],
)
def test_the_best_record(metric, records, best):
    found = best_record(records, metric)
    assert (found and found.id) == best
