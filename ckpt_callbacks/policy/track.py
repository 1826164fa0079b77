"""The running state of one metric: its smoothed value, its best value, and how long it has not improved."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..events import Event, EventKind
from .metric import Metric
from .smoothing import Memory

CHECKS = (EventKind.VALIDATION_END, EventKind.EPOCH_END)


@dataclass(frozen=True)
class Track:
    """The state of one `Metric`, as a value: `observe` returns a new one.

    Attributes:
        memory: The smoother's memory.
        value: The last compared value; None before the first one, during the warm-up and after one that was not finite.
        best: The best value measured, of those that were improvements.
        reached: The best value measured, regardless of the margin.
        saved: The best value of all saved checkpoints.
        checks: How many measurements have been compared.
        stale: How many of them in a row did not improve.
        latest: The last finite value of a batch that has not been compared; see `Metric.per`.
    """

    memory: Memory = ()
    value: float | None = None
    best: float | None = None
    reached: float | None = None
    saved: float | None = None
    checks: int = 0
    stale: int = 0
    latest: float | None = None

    def observe(self, metric: Metric, event: Event) -> Track:
        """Return the track after one event; an event without the metric changes nothing."""
        raw = metric.measure_at(event)
        if raw is None and event.kind in CHECKS:
            raw = self.latest
        if raw is None:
            return self._after_batch(metric.measure(event.metrics))
        warming_up = event.epoch_index < metric.start_from_epoch
        if not math.isfinite(raw):
            if warming_up or metric.nan == "skip":
                return self
            return dataclasses.replace(self, value=None, checks=self.checks + 1, stale=self.stale + 1, latest=None)
        memory = metric.smoothing.push(self.memory, raw) if metric.smoothing else (raw,)
        if warming_up:
            return dataclasses.replace(self, memory=memory, value=None, latest=None)
        value = metric.smoothing.read(memory) if metric.smoothing else raw
        improved = metric.improves(value, self.best)
        return dataclasses.replace(
            self,
            memory=memory,
            value=value,
            best=value if improved else self.best,
            reached=value if self.reached is None or metric.better(value, self.reached) else self.reached,
            checks=self.checks + 1,
            stale=0 if improved else self.stale + 1,
            latest=None,
        )

    def _after_batch(self, value: float | None) -> Track:
        # No later event may carry a value: some log only every tenth batch.
        is_finite = value is not None and math.isfinite(value)
        return dataclasses.replace(self, latest=value) if is_finite else self

    def fresh(self, metric: Metric, event: Event) -> float | None:
        """Return the compared value if it was measured at ``event``, the last observed event, and is finite."""
        raw = metric.measure_at(event)
        return self.value if raw is not None and math.isfinite(raw) else None

    def with_saved(self, metric: Metric, value: float) -> Track:
        """Return the track after a checkpoint with this value was saved."""
        if self.saved is None or metric.better(value, self.saved):
            return dataclasses.replace(self, saved=value)
        return self

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, which `from_json` reads back."""
        facts = {**dataclasses.asdict(self), "memory": list(self.memory)}
        # Most tracks need neither.
        if self.reached == self.best:
            del facts["reached"]
        if self.latest is None:
            del facts["latest"]
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Track:
        """Return the track that `to_json` described."""
        return cls(**{"reached": facts["best"], **facts, "memory": tuple(facts["memory"])})
