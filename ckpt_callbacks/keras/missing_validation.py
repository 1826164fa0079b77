"""Metrics of a validation that a call of `fit` does not have."""

from __future__ import annotations

from ..errors import MetricError
from ..run.run import Run
from .fit_call import FitCall
from .other_callbacks import OtherCallbacks


def refuse_without_validation(run: Run, call: FitCall, others: OtherCallbacks) -> None:
    """Make sure that the metrics of a validation can be logged. Call it before training, after a resume.

    Raises:
        MetricError: There is no validation, and no other callback that could log them.
    """
    if call.validates or others.may_log:
        return
    for metric in run.policy.tracks:
        names = [name for name in metric.names if name.startswith("val_") and name not in run.state.logged_names]
        if names and (metric.joint_key or len(names) == len(metric.names)):
            raise MetricError(
                f"the metric {metric.name!r} was never logged, and cannot be: fit() has no validation data; pass "
                f"validation_data=... or validation_split=..., or monitor another metric, such as {names[0][4:]!r}"
            )
