"""Curves of a metric, and where a rule stops."""

import math

from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.engine import fold
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.triggers import OnPreempt

NAN, INF = math.nan, math.inf
VAL = Metric("val_loss", mode="min")
ACC = Metric("acc", mode="max")


def val(**options):
    return Metric("val_loss", mode="min", **options)


def epochs(curve, name="val_loss", first=1):
    return [
        Event.epoch_end(step=i * 10, epoch=i, complete=False, metrics={} if value is None else {name: value})
        for i, value in enumerate(curve, start=first)
    ]


def stops(rule, events, state=None):
    return [
        decision.stop.reasons if decision.stop else ()
        for decision in fold(Policy(save=OnPreempt(), stop=rule), events, state)[1]
    ]


def stopping_epochs(rule, curve, name="val_loss"):
    return [epoch for epoch, why in enumerate(stops(rule, epochs(curve, name)), start=1) if why]
