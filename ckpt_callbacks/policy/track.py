"""The running state of one metric: its smoothed value, its best, and how long it has been stale."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..events import Event
from .metric import Metric
from .smoothing import Memory


@dataclass(frozen=True)
class Track:
    """State of one `Metric` (a value; `observe` returns a new one).

    Attributes:
        memory: The smoother's memory.
        value: The last compared value; None while there is none, in the warm-up, and after one that was not finite.
        best: Best value measured. saved: best value of which a checkpoint exists.
        checks: Measurements compared. stale: measurements in a row without improvement.
    """

    memory: Memory = ()
    value: float | None = None
    best: float | None = None
    saved: float | None = None
    checks: int = 0
    stale: int = 0

    def observe(self, metric: Metric, event: Event) -> Track:
        """Fold one event in. An event that does not carry the metric changes nothing."""
        raw = metric.measure(event.metrics)
        if raw is None:
            return self
        warming_up = event.epoch_index < metric.start_from_epoch
        if not math.isfinite(raw):
            if warming_up or metric.nan == "skip":
                return self
            return dataclasses.replace(self, value=None, checks=self.checks + 1, stale=self.stale + 1)
        memory = metric.smoothing.push(self.memory, raw) if metric.smoothing else (raw,)
        if warming_up:
            return dataclasses.replace(self, memory=memory, value=None)
        value = metric.smoothing.read(memory) if metric.smoothing else raw
        improved = metric.improves(value, self.best)
        return dataclasses.replace(
            self,
            memory=memory,
            value=value,
            best=value if improved else self.best,
            checks=self.checks + 1,
            stale=0 if improved else self.stale + 1,
        )

    def fresh(self, metric: Metric, event: Event) -> float | None:
        """The comparable value measured at ``event`` itself; None when stale, warming up or not finite."""
        raw = metric.measure(event.metrics)
        return self.value if raw is not None and math.isfinite(raw) else None

    def with_saved(self, metric: Metric, value: float) -> Track:
        """A checkpoint with this value exists now."""
        if self.saved is None or metric.better(value, self.saved):
            return dataclasses.replace(self, saved=value)
        return self

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "memory": list(self.memory)}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Track:
        return cls(**{**facts, "memory": tuple(facts["memory"])})
