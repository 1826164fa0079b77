"""Monitored metrics that were not logged: the policy waits for them, then warns, and finally raises an error."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from .metric import Metric
from .policy import Policy
from .resemblance import containing, nearest, resembling, same_but_for_suffix, same_in_training
from .state import State
from .stopping import name_of_batch

_EPOCHS = 10  # complete epochs since the start after which a missing metric is an error, unless it warms up for longer


def problem_of_missing(policy: Policy, state: State, others: Iterable[str] = ()) -> str:
    """Return the error about a monitored metric that is missing for good. Call it after each complete epoch.

    A metric is missing for good if a similar name was logged since training was started, or after `_EPOCHS` epochs.

    Args:
        policy: The policy.
        state: The state after the epoch.
        others: Further names that were logged; see `Event`.

    Returns:
        One line; empty if no metric is missing for good.
    """
    for metric in _missing(policy, state):
        absent = _absent(metric, state.fresh_names)
        problem = f"the metric {metric.name!r} {not_logged(absent, state, others)}"
        similar = next(filter(None, (resembling(name, state.fresh_names.union(others)) for name in absent)), None)
        if similar is not None:
            return f"{problem}; did you mean {similar!r}?"
        if metric.joint_key and not absent and metric.joint_key not in state.joint_keys:
            return (
                f"the metric {metric.name!r} was never measured: {', '.join(metric.names)} were logged, but never "
                "together; log them at the same moment, such as the end of an epoch"
            )
        if state.fresh_epochs >= _limit(metric, policy):
            return (
                f"{problem}; {state.fresh_epochs} epochs have ended since the start; log it, or set "
                f"Metric(start_from_epoch=...) to wait for more epochs{hint(metric, state, others)}"
            )
    return ""


def problem_of_validation(policy: Policy, logged: Collection[str]) -> str:
    """Return the error about a metric of the validation that has another name there. Call it before training.

    Args:
        policy: The policy.
        logged: The names that a first validation has logged. More may follow later, also with a suffix less or more:
            a module may leave out the means of several loaders in a first validation.

    Returns:
        One line; empty if nothing is known to be wrong.
    """
    for metric in policy.tracks:
        absent = [name for name in metric.names if name not in logged]
        if not metric.joint_key and len(absent) < len(metric.names):
            continue
        for name in absent:
            others = [other for other in logged if not same_but_for_suffix(name, other)]
            if name.startswith("val") and (similar := resembling(name, others)) is not None:
                return (
                    f"the metric {name!r} was not logged by the validation before training; "
                    f"logged names: {', '.join(sorted(logged))}; did you mean {similar!r}?"
                )
    return ""


def warnings(policy: Policy, state: State, others: Iterable[str] = ()) -> Iterator[str]:
    """Yield one line for each missing metric that the policy waits for. Call it after each complete epoch.

    A metric is named once after a start: at the first epoch, or at the second one if the run has logged it before.
    """
    for metric in _missing(policy, state):
        absent = _absent(metric, state.fresh_names)
        is_known = all(name in state.logged_names for name in absent)
        if state.fresh_epochs == (2 if is_known else 1):
            best = policy.best_metric
            until = (
                ", and until then, no checkpoint is the best" if best is not None and best.name == metric.name else ""
            )
            yield (
                f"the metric {metric.name!r} {not_logged(absent, state, others)}; "
                f"the rules that read it are waiting for it{until}; this is an error "
                f"after {_limit(metric, policy)} epochs without it{hint(metric, state, others)}"
            )


def never_measured(policy: Policy, state: State) -> Iterator[tuple[Metric, str]]:
    """Yield each metric that a run has never measured, with the reason. Call it at the end of training."""
    for metric in {metric.name: metric for metric in policy.tracks}.values():
        if absent := _absent(metric, state.logged_names):
            yield metric, f"it {not_logged(absent, state)}{hint(metric, state)}"


def unwatched(policy: Policy, state: State) -> tuple[str, ...]:
    """Return the names of `NonFinite` rules that no metric had. Call it after a complete epoch.

    A rule may list the names that one metric has in several frameworks, of which a run logs one.
    """
    logged = [name for name in policy.non_finite_names if not state.fresh_names.isdisjoint((name, name_of_batch(name)))]
    return tuple(name for name in policy.non_finite_names if not any(same_in_training(name, other) for other in logged))


def ranks_nothing_yet(policy: Policy, state: State) -> bool:
    """Return True if a complete epoch has passed without a metric that retention rules rank by.

    The metric may be misspelt; checkpoints that it should rank would be deleted before `problem_of_missing` says so. If
    the run has never logged it, this is true from the start of training.
    """
    return any(
        epochs > metric.start_from_epoch and bool(_absent(metric, logged))
        for metric in policy.keep.metrics()
        for epochs, logged in ((state.fresh_epochs, state.fresh_names), (state.whole_epochs, state.logged_names))
    )


def not_logged(names: Iterable[str], state: State, others: Iterable[str] = ()) -> str:
    """Return the end of a message about names that were not logged since training was started, or never."""
    is_known = all(name in state.logged_names for name in names)
    when, logged = (
        ("not logged since the start", state.fresh_names) if is_known else ("never logged", state.logged_names)
    )
    return f"was {when}; logged names: {', '.join(sorted(logged.union(others))) or 'none at all'}"


def hint(metric: Metric, state: State, others: Iterable[str] = ()) -> str:
    """Return the end of a message about a metric that was not logged, with what may be the cause; empty if unknown."""
    logged = state.fresh_names.union(others)
    if metric.names[0].startswith("val") and not any(name.startswith("val") for name in logged):
        return "; does training have validation data?"
    absent = _absent(metric, state.fresh_names)
    meant = next(filter(None, (find(name, logged) for find in (containing, nearest) for name in absent)), None)
    return f"; did you mean {meant!r}?" if meant is not None else ""


def _missing(policy: Policy, state: State) -> Iterator[Metric]:
    """Yield each metric that was not measured since training was started, once for all rules that read it."""
    for metric in {metric.name: metric for metric in policy.tracks}.values():
        if _absent(metric, state.fresh_names) or (metric.joint_key and metric.joint_key not in state.fresh_joint_keys):
            yield metric


def _absent(metric: Metric, logged: Collection[str]) -> tuple[str, ...]:
    """Return the names that the metric needs and that are not in ``logged``."""
    absent = tuple(name for name in metric.names if name not in logged)
    return absent if metric.joint_key or len(absent) == len(metric.names) else ()


def _limit(metric: Metric, policy: Policy) -> int:
    return max(_EPOCHS, *(one.start_from_epoch + 1 for one in policy.tracks if one.name == metric.name))
