"""Metrics: their names, their values, and what counts as an improvement."""

import pytest

from ckpt_callbacks.errors import PolicyError
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.smoothing import EMA, Mean, Median
from tests.policy.measuring import ACC, INF, NAN, VAL, val


@pytest.mark.parametrize("mode", ["", "mn", "MIN", "lower"])
def test_an_unknown_mode_is_refused(mode):
    with pytest.raises(PolicyError, match=r"Metric\('val_loss'\): mode is '.*'; expected 'min' or 'max'$"):
        Metric("val_loss", mode=mode)


def test_a_name_that_says_the_direction_needs_no_mode():
    assert (Metric("val_loss"), Metric("f1")) == (Metric("val_loss", mode="min"), Metric("f1", mode="max"))
    assert Metric(["val_loss", "loss"]).mode == "min" and Metric("f1", mode="min").mode == "min"


@pytest.mark.parametrize("monitor", ["val_gap", ["val_acc", "val_loss"], {"val_loss": 1, "loss": 0.5}])
def test_a_name_that_does_not_say_the_direction_needs_a_mode(monitor):
    with pytest.raises(PolicyError, match="does not say whether less or more is better; expected mode='min' or"):
        Metric(monitor)


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


@pytest.mark.parametrize(
    "metric",
    [VAL, Metric({"a": 1, "b": 0.5}, mode="max"), val(smoothing=EMA(0.3), min_delta=0.1, baseline=2.0, per="step")],
)
def test_a_metric_is_shown_as_source_that_leaves_out_what_is_not_set(metric):
    assert eval(repr(metric)) == metric
    assert repr(VAL) == "Metric('val_loss', mode='min')"


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
