"""The reasons why no checkpoint of a run is the best by a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..record import Record
from .composition import Trigger
from .metric import Metric
from .missing_metrics import hint, not_logged
from .policy import Policy
from .ranking import ranked_records
from .state import State
from .triggers import At, Every, OnDeadline, OnException, OnPreempt

_UNSMOOTHED = "they have values of it, but not its average, because they were saved under another policy"


def ranking_metrics(policy: Policy) -> tuple[Metric, ...]:
    """Return the metrics by which a policy ranks checkpoints, each once."""
    best = (policy.best_metric,) if policy.best_metric is not None else ()
    return tuple(dict.fromkeys((*best, *policy.keep.metrics())))


def ignores_measurements(policy: Policy) -> bool:
    """Return whether the policy saves at steps or moments that have nothing to do with the ends of epochs."""

    def ignores(leaf: Trigger) -> bool:
        if isinstance(leaf, Every | At):
            return not leaf.epochs
        return leaf.pace is not None or isinstance(leaf, OnDeadline | OnException | OnPreempt)

    return all(map(ignores, policy.leaves))


def ranked_by_unlogged(policy: Policy, records: Sequence[Record]) -> tuple[str, ...]:
    """Return the names of the metrics that retention rules rank by, but that no record has a value of."""
    return tuple(
        metric.name
        for metric in dict.fromkeys(metric.raw for metric in policy.keep.metrics())
        if all(metric.measure(record.metrics) is None for record in records)
    )


def why_unranked(
    metric: Metric, policy: Policy, state: State, records: Sequence[Record], failed: Sequence[Record] = ()
) -> str:
    """Return in a few words why no record has a rank by a metric, and what to do; empty if a record has one.

    Args:
        metric: The metric, which is one of the policy's.
        policy: The policy.
        state: The state at the end of training, or before training.
        records: The checkpoints of the run.
        failed: The records of its saves that have failed, and of checkpoints that were found damaged.
    """
    ranked = ranked_records(records, metric)
    if any(not record.superseded for record in ranked):
        return ""
    if ranked:
        return "training began again before the checkpoints that have a value of it, so they no longer count"
    if any(metric.score(record) is not None for record in records):
        return "the checkpoints that have a value of it hold NaN or infinity, or were saved while training failed"
    track = state.tracks.get(policy.tracks[metric])
    lost = [record for record in failed if metric.score(record) is not None]
    if lost and lost[-1].is_spoiled:
        return (
            f"{lost[-1].file}, which has a value of it, was found damaged or missing; if the run has a mirror, `ckpt "
            "pull` downloads it again"
        )
    if lost or (state.failures and track is not None and track.best is not None):
        why = f", as at step {lost[-1].step}: {lost[-1].error}" if lost else ""
        return f"it was measured, but saves failed{why}; make them succeed, for example by freeing space"
    if track is not None and track.best is not None:
        name = metric.name if isinstance(metric.monitor, str) else "..."
        return (
            "it was measured, but never at a step that was saved; to save when it is measured, add "
            f"Improves(Metric({name!r}, mode={metric.mode!r})) to save"
        )
    if any(name not in state.logged_names for name in metric.names) and not _has_alternative(metric, state):
        if not state.logged_names:  # only the records are known
            return _lacking(metric, records)
        stops = policy.stop is not None and metric.name in {one.name for one in policy.stop.metrics()}
        never_ran = "; early stopping by it never ran" if stops else ""
        return f"it {not_logged(metric.names, state)}{never_ran}{hint(metric, state)}"
    if track is not None and track.checks == 0 and metric.start_from_epoch:
        return f"it counts only after start_from_epoch={metric.start_from_epoch} epochs, and {state.epoch} were trained"
    if metric.smoothing and _finite(metric, records):
        return _UNSMOOTHED
    return "none of its values was finite"


def _lacking(metric: Metric, records: Sequence[Record]) -> str:
    """Return what the metrics of records without a rank are, as far as the records alone tell."""
    if found := _finite(metric, records):
        early = all(record.epoch < metric.start_from_epoch for record in found)
        return f"it counts only after start_from_epoch={metric.start_from_epoch} epochs" if early else _UNSMOOTHED
    if any(metric.measure(record.metrics) is not None for record in records):
        return "none of its values was finite"
    known = {name for record in records for name in record.metrics}
    if not known:
        return f"none of them has a value of any metric{hint(metric, State(), known)}"
    logged = ", ".join(sorted(known))
    return f"none of them has a value of it; they have values of {logged}{hint(metric, State(), known)}"


def _finite(metric: Metric, records: Sequence[Record]) -> list[Record]:
    """Return the records that have a finite value of the metric, smoothed or not."""
    return [r for r in records if (value := metric.measure(r.metrics)) is not None and math.isfinite(value)]


def _has_alternative(metric: Metric, state: State) -> bool:
    return metric.joint_key is None and any(name in state.logged_names for name in metric.names)
