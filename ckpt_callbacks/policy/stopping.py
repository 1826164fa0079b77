"""Stop now? Stopping rules are functions of the metrics' state, so they hold again after a resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from ..errors import PolicyError
from ..units import is_finite
from .metric import Metric, check_count, check_metric
from .smoothing import exact
from .track import Track

TrackOf = Callable[[Metric], Track]


@dataclass(frozen=True)
class Stopping:
    """Base of all stopping rules; they compose with ``|``.

    Attributes:
        steady: What it says changes only when metrics are measured. Others are asked at every event.
    """

    steady: ClassVar[bool] = False

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        """Why training should stop; empty to go on."""
        raise NotImplementedError

    def metrics(self) -> tuple[Metric, ...]:
        """The metrics whose tracks this rule reads."""
        return ()

    def parts(self) -> tuple[Stopping, ...]:
        """The single rules."""
        return (self,)

    def __or__(self, other: Stopping) -> AnyStop:
        return AnyStop((self, other)) if isinstance(other, Stopping) else NotImplemented

    def __bool__(self) -> bool:
        raise PolicyError("a stopping rule has no truth value: combine rules with |, not with `or`")


@dataclass(frozen=True)
class Patience(Stopping):
    """Stop when ``metric`` has not improved in ``checks`` measurements in a row (measurements, not epochs).

    Args:
        metric: What must improve, by more than its ``min_delta``.
        checks: Measurements without improvement that are one too many, at least 1.
        start_from_epoch: Measurements in the first so many epochs are not counted.
    """

    metric: Metric
    checks: int
    start_from_epoch: int = 0
    steady = True

    def __post_init__(self) -> None:
        check_metric("Patience", self.metric)
        check_count("Patience", "checks", self.checks)
        check_count("Patience", "start_from_epoch", self.start_from_epoch, least=0)

    @cached_property
    def watched(self) -> Metric:
        """The metric with this rule's warm-up, which has a track of its own."""
        return replace(self.metric, start_from_epoch=max(self.metric.start_from_epoch, self.start_from_epoch))

    def metrics(self) -> tuple[Metric, ...]:
        return (self.watched,)

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        track = track_of(self.watched)
        if track.stale < self.checks:
            return ()
        best = "no finite value so far" if track.best is None else f"best {track.best:.6g}"
        return (f"{self.metric.name} did not improve in {track.stale} checks ({best})",)


@dataclass(frozen=True)
class _Threshold(Stopping):
    metric: Metric
    value: float
    steady = True

    def __post_init__(self) -> None:
        check_metric(type(self).__name__, self.metric)
        if not is_finite(self.value):
            raise PolicyError(f"{type(self).__name__}: value is {self.value!r}; expected a finite number")

    def metrics(self) -> tuple[Metric, ...]:
        return (self.metric,)


@dataclass(frozen=True)
class Reaches(_Threshold):
    """Stop when ``metric`` is at ``value`` or better."""

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        track = track_of(self.metric)
        if track.value is None or self.metric.better(self.value, track.value):
            return ()
        return (f"{self.metric.name} reached {track.value:.6g} (goal {exact(self.value)})",)


@dataclass(frozen=True)
class Diverges(_Threshold):
    """Stop when ``metric`` is worse than ``value``."""

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        track = track_of(self.metric)
        if track.value is None or not self.metric.better(self.value, track.value):
            return ()
        return (f"{self.metric.name} diverged to {track.value:.6g} (limit {exact(self.value)})",)


@dataclass(frozen=True)
class NonFinite(Stopping):
    """Stop when a metric was NaN or infinite ``consecutive`` measurements in a row.

    Args:
        monitor: One or more names; each is counted by itself, and names that are not logged are left out.
        consecutive: Measurements in a row, at least 1.
    """

    monitor: str | tuple[str, ...]
    consecutive: int = 1
    steady = True

    def __post_init__(self) -> None:
        names = (self.monitor,) if isinstance(self.monitor, str) else self.monitor
        if not isinstance(names, Sequence) or not names or not all(isinstance(n, str) and n for n in names):
            raise PolicyError(f"NonFinite: monitor is {self.monitor!r}; expected one or more metric names")
        object.__setattr__(self, "monitor", tuple(names))
        check_count("NonFinite", "consecutive", self.consecutive)

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        bad = [(name, counts.get(name, 0)) for name in self.monitor if counts.get(name, 0) >= self.consecutive]
        return tuple(f"{name} was not finite" + (f" {n} times in a row" if n > 1 else "") for name, n in bad)


@dataclass(frozen=True, repr=False)
class AnyStop(Stopping):
    """Stop when any rule says so."""

    rules: tuple[Stopping, ...]

    def __post_init__(self) -> None:
        rules = tuple(self.rules)
        if not rules or not all(isinstance(rule, Stopping) for rule in rules):
            raise PolicyError(f"AnyStop: got {rules!r}; expected one or more stopping rules")
        object.__setattr__(self, "rules", tuple(part for rule in rules for part in rule.parts()))

    def parts(self) -> tuple[Stopping, ...]:
        return self.rules

    def metrics(self) -> tuple[Metric, ...]:
        return tuple(metric for rule in self.rules for metric in rule.metrics())

    def reasons(self, track_of: TrackOf, counts: Mapping[str, int]) -> tuple[str, ...]:
        # Rules may be equal, or say the same; each reason is given once.
        return tuple(dict.fromkeys(reason for rule in self.rules for reason in rule.reasons(track_of, counts)))

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.rules)) if len(self.rules) > 1 else f"AnyStop({self.rules!r})"
