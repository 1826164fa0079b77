"""Stopping rules: when training ends.

They are functions of the metrics' state, so they give the same answer after a resume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..errors import PolicyError
from ..units import check_count, format_number, is_finite
from .argument_names import suggests_fields
from .metric import Metric, as_metric
from .source_text import source_text
from .track import Track

TrackOf = Callable[[Metric], Track]


@dataclass(frozen=True)
class Stopping:
    """A rule that says when training ends: the base of all stopping rules.

    Rules combine: ``Patience(val, checks=5) | NonFinite("train_loss")`` stops when either says so. To add a rule,
    subclass and define `reasons`, and `metrics` if it reads any.
    """

    @property
    def only_on_metrics(self) -> bool:
        """Whether its answer changes only when metrics are measured.

        False by default: the rule is asked at every event.
        """
        return False

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        """Return why training should stop; an empty tuple if it should continue.

        Args:
            track_of: Returns the state of one of the rule's `metrics`.
            counts: How many times in a row each of the `non_finite_names` was NaN or infinite.
        """
        raise NotImplementedError

    def metrics(self) -> tuple[Metric, ...]:
        """Return the metrics that it reads. None by default."""
        return ()

    def non_finite_names(self) -> tuple[str, ...]:
        """Return the names of the metrics whose NaN and infinite values are counted for it. None by default."""
        return ()

    def parts(self) -> tuple[Stopping, ...]:
        """Return the single rules."""
        return (self,)

    def __or__(self, other: Stopping) -> AnyStop:
        return AnyStop((self, other)) if isinstance(other, Stopping) else NotImplemented

    def __bool__(self) -> bool:
        raise PolicyError("a stopping rule has no truth value: combine rules with |, not with `or`")


@suggests_fields
@dataclass(frozen=True, repr=False)
class Patience(Stopping):
    """Stop when a metric has not improved for a number of measurements in a row.

    Measurements are counted, not epochs: a metric that is validated twice an epoch has two. A metric that is logged at
    each batch has one at the end of an epoch or a validation, unless it is a ``Metric(..., per="step")``.

    Args:
        metric: The metric that must improve, by more than its ``min_delta``; see `as_metric`.
        checks: Measurements without improvement after which training stops, at least 1.
        start_from_epoch: Number of initial epochs whose measurements are not counted.
    """

    metric: Metric
    checks: int
    start_from_epoch: int = 0
    only_on_metrics = True

    __repr__ = source_text

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", as_metric("Patience", self.metric))
        check_count("Patience", "checks", self.checks)
        check_count("Patience", "start_from_epoch", self.start_from_epoch, least=0)

    @cached_property
    def watched(self) -> Metric:
        """The metric with this rule's warm-up, which has its own track."""
        return replace(self.metric, start_from_epoch=max(self.metric.start_from_epoch, self.start_from_epoch))

    def metrics(self) -> tuple[Metric, ...]:
        return (self.watched,)

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        track = track_of(self.watched)
        if track.stale < self.checks:
            return ()
        return (f"{self.metric.series} did not improve{self._failed(track)}",)

    def _failed(self, track: Track) -> str:
        unit = "step" if self.metric.per == "step" else "check"
        checks, best, reached = f"in {track.stale} {unit}{'' if track.stale == 1 else 's'}", track.best, track.reached
        if best is None and reached is None:
            return f" {checks} (no finite value so far)"
        if best is None:
            return f" on the baseline {format_number(self.metric.baseline or 0.0)} {checks} (best {reached:.6g})"
        if reached is None or not self.metric.better(reached, best):
            return f" {checks} (best {best:.6g})"
        kind = " (rel)" if self.metric.min_delta_mode == "rel" else ""
        margin = f"min_delta {format_number(self.metric.min_delta)}{kind}"
        return f" by more than {margin} {checks} (from {best:.6g} only to {reached:.6g})"


@dataclass(frozen=True)
class _Threshold(Stopping):
    metric: Metric
    value: float
    only_on_metrics = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", as_metric(type(self).__name__, self.metric))
        if not is_finite(self.value):
            raise PolicyError(f"{type(self).__name__}: value is {self.value!r}; expected a finite number")

    def metrics(self) -> tuple[Metric, ...]:
        return (self.metric,)


@suggests_fields
@dataclass(frozen=True)
class Reaches(_Threshold):
    """Stop when a metric has reached a goal.

    Args:
        metric: The metric.
        value: The goal; training stops at this value, or a better one.
    """

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        track = track_of(self.metric)
        if track.value is None or self.metric.better(self.value, track.value):
            return ()
        return (f"{self.metric.series} reached {track.value:.6g} (goal {format_number(self.value)})",)


@suggests_fields
@dataclass(frozen=True)
class Diverges(_Threshold):
    """Stop when a metric is worse than a limit.

    Args:
        metric: The metric.
        value: The limit; training stops at any worse value.
    """

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        track = track_of(self.metric)
        if track.value is None or not self.metric.better(self.value, track.value):
            return ()
        return (f"{self.metric.series} diverged to {track.value:.6g} (limit {format_number(self.value)})",)


@suggests_fields
@dataclass(frozen=True, repr=False)
class NonFinite(Stopping):
    """Stop when a metric has been NaN or infinite for a number of measurements in a row.

    Args:
        monitor: One or more names of metrics, such as ``"train_loss"``. Each is counted separately; those that are
            never logged are ignored. If a metric is also logged by epoch, its value of each batch counts as well.
        consecutive: Measurements in a row, at least 1.
    """

    monitor: str | tuple[str, ...]
    consecutive: int = 1
    only_on_metrics = True

    __repr__ = source_text

    def __post_init__(self) -> None:
        names = (self.monitor,) if isinstance(self.monitor, str) else self.monitor
        if not isinstance(names, Sequence) or not names or not all(isinstance(n, str) and n for n in names):
            raise PolicyError(f"NonFinite: monitor is {self.monitor!r}; expected one or more metric names")
        object.__setattr__(self, "monitor", tuple(names))
        check_count("NonFinite", "consecutive", self.consecutive)

    def non_finite_names(self) -> tuple[str, ...]:
        return (self.monitor,) if isinstance(self.monitor, str) else self.monitor

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        bad = [(name, counts.get(name, 0)) for name in self.monitor if counts.get(name, 0) >= self.consecutive]
        return tuple(f"{name} was not finite" + (f" {n} times in a row" if n > 1 else "") for name, n in bad)


def name_of_batch(name: str) -> str:
    """Return the name of a metric's batch value, as Lightning forms it, if its own name means the epoch's value."""
    return f"{name}_step"


@dataclass(frozen=True, repr=False)
class AnyStop(Stopping):
    """Stop when any of the rules says so: ``a | b``.

    Args:
        rules: One or more rules.
    """

    rules: tuple[Stopping, ...]

    def __post_init__(self) -> None:
        rules = tuple(self.rules)
        if not rules or not all(isinstance(rule, Stopping) for rule in rules):
            raise PolicyError(f"AnyStop: got {rules!r}; expected one or more stopping rules")
        object.__setattr__(self, "rules", tuple(part for rule in rules for part in rule.parts()))

    @property
    def only_on_metrics(self) -> bool:
        """See `Stopping`."""
        return all(rule.only_on_metrics for rule in self.rules)

    def parts(self) -> tuple[Stopping, ...]:
        return self.rules

    def non_finite_names(self) -> tuple[str, ...]:
        return tuple(name for rule in self.rules for name in rule.non_finite_names())

    def metrics(self) -> tuple[Metric, ...]:
        return tuple(metric for rule in self.rules for metric in rule.metrics())

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        # Rules may be equal, or give the same reason; each reason is listed once.
        return tuple(dict.fromkeys(reason for rule in self.rules for reason in rule.reasons(track_of, counts)))

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.rules)) if len(self.rules) > 1 else f"AnyStop({self.rules!r})"
