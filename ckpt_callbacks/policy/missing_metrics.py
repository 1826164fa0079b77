"""Monitored metrics that were not logged: the policy waits for them, then warns, and finally raises an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import MetricError
from .metric import Metric
from .policy import Policy
from .resemblance import resembling, same_in_training
from .state import State
from .stopping import name_of_batch

_EPOCHS = 10  # complete epochs since the start after which a missing metric is an error, unless it warms up for longer


def check_logged(policy: Policy, state: State) -> None:
    """Raise an error if a monitored metric is missing for good. Call it after each complete epoch.

    A metric is missing for good if a similar name was logged since training was started, or after `_EPOCHS` epochs.

    Raises:
        MetricError: A metric is missing.
    """
    for metric in _missing(policy, state):
        absent = _absent(metric, state)
        problem = f"the metric {metric.name!r} {not_logged(absent, state)}"
        similar = next(filter(None, (resembling(name, state.fresh_names) for name in absent)), None)
        if similar is not None:
            raise MetricError(f"{problem}; did you mean {similar!r}?")
        if metric.joint_key and not absent and metric.joint_key not in state.joint_keys:
            raise MetricError(
                f"the metric {metric.name!r} was never measured: {', '.join(metric.names)} were logged, but never "
                "together; log them at the same moment, such as the end of an epoch"
            )
        if state.fresh_epochs >= _limit(metric, policy):
            raise MetricError(
                f"{problem}; {state.fresh_epochs} epochs have ended since the start; log it, or set "
                "Metric(start_from_epoch=...) to wait for more epochs"
            )


def warnings(policy: Policy, state: State) -> Iterator[str]:
    """Yield one line for each missing metric that the policy waits for. Call it after each complete epoch.

    A metric is named once after a start: at the first epoch, or at the second one if the run has logged it before.
    """
    for metric in _missing(policy, state):
        absent = _absent(metric, state)
        is_known = all(name in state.logged_names for name in absent)
        if state.fresh_epochs == (2 if is_known else 1):
            yield (
                f"the metric {metric.name!r} {not_logged(absent, state)}; the rules that read it are waiting for it; "
                f"this is an error after {_limit(metric, policy)} epochs without it{_hint(metric, state)}"
            )


def unwatched(policy: Policy, state: State) -> tuple[str, ...]:
    """Return the names of `NonFinite` rules that no metric had. Call it after a complete epoch.

    A rule may list the names that one metric has in several frameworks, of which a run logs one.
    """
    logged = [name for name in policy.non_finite_names if not state.fresh_names.isdisjoint((name, name_of_batch(name)))]
    return tuple(name for name in policy.non_finite_names if not any(same_in_training(name, other) for other in logged))


def not_logged(names: Iterable[str], state: State) -> str:
    """Return the end of a message about names that were not logged since training was started, or never."""
    is_known = all(name in state.logged_names for name in names)
    when, logged = (
        ("not logged since the start", state.fresh_names) if is_known else ("never logged", state.logged_names)
    )
    return f"was {when}; logged names: {', '.join(sorted(logged)) or 'none at all'}"


def _missing(policy: Policy, state: State) -> Iterator[Metric]:
    """Yield each metric that was not measured since training was started, once for all rules that read it."""
    for metric in {metric.name: metric for metric in policy.tracks}.values():
        if _absent(metric, state) or (metric.joint_key and metric.joint_key not in state.fresh_joint_keys):
            yield metric


def _absent(metric: Metric, state: State) -> tuple[str, ...]:
    """Return the names that the metric needs and that were not logged since training was started."""
    absent = tuple(name for name in metric.names if name not in state.fresh_names)
    return absent if metric.joint_key or len(absent) == len(metric.names) else ()


def _limit(metric: Metric, policy: Policy) -> int:
    return max(_EPOCHS, *(one.start_from_epoch + 1 for one in policy.tracks if one.name == metric.name))


def _hint(metric: Metric, state: State) -> str:
    lacks_validation = not any(name.startswith("val") for name in state.fresh_names)
    return "; is there a validation?" if lacks_validation and metric.names[0].startswith("val") else ""
