"""Metrics, and what they remember after each measurement."""

import math

from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.track import Track

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
