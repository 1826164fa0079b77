"""A monitored metric and its order: the values that are better than others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import PolicyError
from ..events import Event, EventKind
from ..record import Record
from ..units import check_count, format_number, is_finite
from .argument_names import suggests_fields
from .direction import corrected, direction_of
from .smoothing import Smoothing

AUTO = "auto"  # the mode in Keras that means the same as None here
JOINT = " (together)"  # ends each `Metric.joint_key`, also in the state of checkpoints


class UnknownDirection(PolicyError):
    """A metric without a mode, whose name does not say whether less or more is better.

    Args:
        text: The message.
        in_yaml: The message for a file, without its first words.
    """

    def __init__(self, text: str, in_yaml: str = "") -> None:
        super().__init__(text)  # a pickle builds it from the text alone, and then adds the attribute
        self.in_yaml = in_yaml


@suggests_fields
@dataclass(frozen=True, repr=False)
class Metric:
    """A logged value, its direction, and how it is compared. It means the same in every rule that uses it.

    Example: ``val = Metric("val_loss", mode="min")``, then ``Improves(val)``, ``KeepBest(3, by=val)`` and
    ``Patience(val, checks=5)``.

    Args:
        monitor: Name of a logged value; or a list of names, to use the first one that was logged; or a mapping of names
            to weights, to use their weighted sum, for which all of them must be logged.
        mode: ``"min"`` or ``"max"``. None, or Keras' ``"auto"``, for a name that says it, such as that of a loss or an
            accuracy; see `direction_of`.
        smoothing: `EMA`, `Mean` or `Median`, applied before anything is compared.
        min_delta: The smallest change that counts as an improvement, at least 0.
        min_delta_mode: ``"abs"``, or ``"rel"`` for a fraction of the best value so far.
        baseline: A value that must also be beaten to count as an improvement.
        start_from_epoch: Number of initial epochs whose measurements feed the smoother, but are not compared.
        nan: The effect of a NaN or infinite value: ``"stale"`` (a check without improvement) or
            ``"skip"`` (as if it had not been measured). Such a value never ranks.
        per: What is smoothed and compared of a value that is logged at each batch: ``"epoch"`` (its last value at the
            end of an epoch or a validation) or ``"step"`` (each value). A checkpoint always ranks by its own value.
    """

    monitor: str | tuple[str, ...] | tuple[tuple[str, float], ...]
    mode: str | None = None
    smoothing: Smoothing | None = None
    min_delta: float = 0.0
    min_delta_mode: str = "abs"
    baseline: float | None = None
    start_from_epoch: int = 0
    nan: str = "stale"
    per: str = "epoch"

    def __post_init__(self) -> None:
        object.__setattr__(self, "monitor", _frozen_monitor(self.monitor))
        where = f"Metric({self.name!r})"
        if self.mode in (None, AUTO):
            object.__setattr__(self, "mode", _said_direction("Metric", self))
        if self.mode not in ("min", "max"):
            raise PolicyError(f"{where}: mode is {self.mode!r}; expected 'min' or 'max'")
        if self.smoothing is not None and not isinstance(self.smoothing, Smoothing):
            raise PolicyError(f"{where}: smoothing is {self.smoothing!r}; expected EMA, Mean or Median")
        if not (is_finite(self.min_delta) and self.min_delta >= 0):
            raise PolicyError(f"{where}: min_delta is {self.min_delta!r}; expected a finite number of at least 0")
        if self.min_delta_mode not in ("abs", "rel"):
            raise PolicyError(f"{where}: min_delta_mode is {self.min_delta_mode!r}; expected 'abs' or 'rel'")
        if self.baseline is not None and not is_finite(self.baseline):
            raise PolicyError(f"{where}: baseline is {self.baseline!r}; expected a finite number")
        check_count(where, "start_from_epoch", self.start_from_epoch, least=0)
        if self.nan not in ("stale", "skip"):
            raise PolicyError(f"{where}: nan is {self.nan!r}; expected 'stale' or 'skip'")
        if self.per not in ("epoch", "step"):
            raise PolicyError(f"{where}: per is {self.per!r}; expected 'epoch' or 'step'")

    def __repr__(self) -> str:
        # Messages hold it several times, so it leaves out what is not set.
        others = [field for field in dataclasses.fields(self)[2:] if getattr(self, field.name) != field.default]
        options = "".join(f", {field.name}={getattr(self, field.name)!r}" for field in others)
        return f"Metric({self.monitor!r}, mode={self.mode!r}{options})"

    @cached_property
    def name(self) -> str:
        """The metric's name in messages: ``val_loss``, ``train_loss or loss``, ``val_loss + 0.5*val_err``."""
        if isinstance(self.monitor, str):
            return self.monitor
        if isinstance(self.monitor[0], str):
            return " or ".join(self.monitor)
        return " + ".join(name if weight == 1 else f"{format_number(weight)}*{name}" for name, weight in self.monitor)

    @cached_property
    def series(self) -> str:
        """The identity of the sequence of compared values: the name and its smoothing, without thresholds."""
        return f"{self.smoothing} of {self.name}" if self.smoothing else self.name

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The logged names that it reads."""
        if isinstance(self.monitor, str):
            return (self.monitor,)
        return tuple(part if isinstance(part, str) else part[0] for part in self.monitor)

    @cached_property
    def joint_key(self) -> str | None:
        """For a weighted sum, the key by which the state remembers that its parts were logged at one event."""
        return None if isinstance(self.monitor, str) or isinstance(self.monitor[0], str) else f"{self.name}{JOINT}"

    @property
    def raw(self) -> Metric:
        """The same metric without smoothing."""
        return dataclasses.replace(self, smoothing=None)

    def measure(self, metrics: Mapping[str, float]) -> float | None:
        """Return the unsmoothed value in ``metrics``, NaN and infinities included; None when it was not measured."""
        if isinstance(self.monitor, str):
            return metrics.get(self.monitor)
        if isinstance(self.monitor[0], str):
            return next((metrics[name] for name in self.monitor if name in metrics), None)
        if not all(name in metrics for name, _ in self.monitor):
            return None
        return sum(weight * metrics[name] for name, weight in self.monitor)

    def measure_at(self, event: Event) -> float | None:
        """Return the unsmoothed value that counts as a measurement at ``event``; None if there is none."""
        return None if self.per == "epoch" and event.kind is EventKind.STEP_END else self.measure(event.metrics)

    def score(self, record: Record) -> float | None:
        """Return the finite value that ranks ``record``; None when it has none, or is from the warm-up."""
        if record.epoch < self.start_from_epoch:
            return None
        # The last epoch of the warm-up and the moment after it look alike in a record, but only the latter has a score.
        scored = self.smoothing is not None or 0 < self.start_from_epoch == record.epoch
        value = record.scores.get(self.series) if scored else self.measure(record.metrics)
        return value if value is not None and math.isfinite(value) else None

    def better(self, value: float, than: float) -> bool:
        """Return whether ``value`` is better than ``than``, by any margin."""
        return value < than if self.mode == "min" else value > than

    def improves(self, value: float, on: float | None) -> bool:
        """Return whether ``value`` beats ``on`` and the baseline, if they are given, by more than ``min_delta``."""
        references = [reference for reference in (on, self.baseline) if reference is not None]
        if not references:
            return True
        reference = min(references) if self.mode == "min" else max(references)
        delta = self.min_delta * abs(reference) if self.min_delta_mode == "rel" else self.min_delta
        return self.better(value, reference - delta if self.mode == "min" else reference + delta)

    def rank(self, record: Record) -> tuple[float, int] | None:
        """Return a sort key, best first, older first among equals; None for a record that never ranks."""
        score = self.score(record)
        if score is None or record.exceptional or not record.finite:
            return None
        return (score if self.mode == "min" else -score, record.id)


def as_metric(where: str, value: object, mode: str | None = None) -> Metric:
    """Return a `Metric` as it is, and a name as the metric of that name.

    Args:
        where: The first words of an error message.
        value: A `Metric`; or a name, or a list of names, as for `Metric`.
        mode: ``"min"`` or ``"max"``. None, or ``"auto"``, for a `Metric`, and for names that say it.

    Raises:
        PolicyError: It is neither, or the direction is unknown.
    """
    mode = None if mode == AUTO else mode
    if isinstance(value, Metric) and mode is None:
        return value
    if isinstance(value, Metric) or not isinstance(value, str | Sequence | Mapping) or not value:
        got = f"{value!r}" if mode is None else f"{value!r} and mode={mode!r}"
        raise PolicyError(f"{where}: got {got}; expected a Metric, such as Metric('val_loss', mode='min')")
    if mode not in (None, "min", "max"):
        raise PolicyError(f"{where}: mode is {mode!r}; expected 'min' or 'max'")
    metric = Metric(value, mode=mode or "min")  # type: ignore[arg-type]
    return metric if mode is not None else dataclasses.replace(metric, mode=_said_direction(where, metric))


def _said_direction(where: str, metric: Metric) -> str:
    known = set() if metric.joint_key else {direction_of(name) for name in metric.names}
    direction = known.pop() if len(known) == 1 else None
    if direction is None:
        meant = None if metric.joint_key else next(filter(None, map(corrected, metric.names)), None)
        said = f"{metric.name!r} does not say whether less or more is better; expected"
        hint = f"; did you mean {meant!r}?" if meant is not None else ""
        written = dict(metric.monitor) if metric.joint_key else metric.monitor  # type: ignore[arg-type]
        raise UnknownDirection(
            f"{where}: {said} mode='min' or mode='max', as in Metric({written!r}, mode='max'){hint}",
            f"{said} mode: min or mode: max beside monitor{hint}",
        )
    return direction


def _is_weighted(part: object) -> bool:
    return (
        isinstance(part, Sequence)
        and len(part) == 2
        and isinstance(part[0], str)
        and bool(part[0])
        and is_finite(part[1])
    )


def _frozen_monitor(monitor: object) -> str | tuple[str, ...] | tuple[tuple[str, float], ...]:
    # A mapping or list would make the policy unhashable; a tuple of pairs is a mapping that is already frozen.
    if isinstance(monitor, str) and monitor:
        return monitor
    if isinstance(monitor, Mapping):
        monitor = tuple(monitor.items())
    if isinstance(monitor, Sequence) and not isinstance(monitor, str) and monitor:
        if all(isinstance(part, str) and part for part in monitor):
            return tuple(monitor) if len(monitor) > 1 else monitor[0]
        if all(_is_weighted(part) for part in monitor) and len(dict(monitor)) == len(monitor):
            return tuple((name, weight) for name, weight in monitor)
    raise PolicyError(
        f"Metric: monitor is {monitor!r}; expected a metric's name, a list of names, or a mapping of names to weights"
    )
