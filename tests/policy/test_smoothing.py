"""Smoothing, warm-up, and values that are not finite."""

import sys

import pytest

from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.smoothing import EMA, Mean, Median
from ckpt_callbacks.policy.track import Track
from tests.policy.measuring import INF, NAN, VAL, track_after_each, val
from tests.support.ids import readable


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
    metric = val(start_from_epoch=2, per="step")
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
