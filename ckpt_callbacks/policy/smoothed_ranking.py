"""Retention by a smoothed metric, which may delete the checkpoint with the best value."""

from __future__ import annotations

from .metric import Metric
from .policy import Policy
from .retention import KeepAll


def smoothed_ranking(policy: Policy) -> Metric | None:
    """Return the smoothed metric by which the policy ranks, if no rule keeps the best checkpoint by its raw values.

    The best average often lies several epochs after the best model, by when that model's checkpoint is gone.
    """
    if any(isinstance(rule, KeepAll) for rule in policy.keep.parts()):
        return None
    ranked = [*policy.keep.metrics(), *([policy.best_metric] if policy.best_metric else [])]
    kept = {metric.monitor for metric in ranked if metric.smoothing is None}
    return next((metric for metric in ranked if metric.smoothing and metric.monitor not in kept), None)
