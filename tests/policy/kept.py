"""Records, and what a rule keeps of them."""

import math

from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.plan import plan
from ckpt_callbacks.policy.retention import (
    KeepTagged,
)
from ckpt_callbacks.record import Record, Status

NAN, INF = math.nan, math.inf
HOUR = 3600.0
VAL = Metric("val_loss", mode="min")
ACC = Metric("acc", mode="max")
NOTHING_ELSE = KeepTagged("nobody has this tag")  # leaves only what is always kept


def record(id, **facts):
    facts = {"step": id * 10, "epoch": id, "status": Status.VERIFIED, **facts}
    return Record(id, f"{id}.ckpt", **facts)


def records(*losses, **facts):
    """One record for each loss, with ids from 1."""
    return [record(i, metrics={"val_loss": loss}, **facts) for i, loss in enumerate(losses, start=1)]


def kept(rule, of, **options):
    return [r.id for r in plan(rule, of, **options).keep]


def kept_by(rule, of):
    """What the rule itself keeps, without what is always kept."""
    return sorted(record.id for record, _ in rule.kept(of))
