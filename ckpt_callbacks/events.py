"""The events of a training loop, and the outcomes of saves, as the engine sees them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .errors import PolicyError


class EventKind(str, Enum):
    """The kind of an `Event`."""

    START = "start"  # `fit` begins, fresh or resumed
    STEP_END = "step_end"  # an optimizer step is done
    VALIDATION_END = "validation_end"  # a validation in the middle of an epoch is done
    EPOCH_END = "epoch_end"  # an epoch and its validation are done
    PREEMPT = "preempt"  # the job scheduler or the user asks the process to end
    DEMAND = "demand"  # a user asked for a checkpoint
    EXCEPTION = "exception"  # training raised an exception
    END = "end"  # `fit` ends
    SAVED = "saved"  # a requested save is durable
    DROPPED = "dropped"  # a requested save did not happen


@dataclass(frozen=True)
class Event:
    """One fact from the training loop, or the outcome of a save. A `Predicate` receives it.

    Attributes:
        kind: What happened.
        step: Optimizer updates done so far. For `SAVED` and `DROPPED`: those done when the outcome became known; 0
            means as many as at the last event.
        epoch: *Completed* epochs: 1 at the first epoch's end.
        time: Training time in seconds, accumulated over all resumes; it never decreases.
        wall: UTC seconds since 1970; for names, records and deadlines.
        metrics: Metrics measured with exactly this step's weights; no older ones.
        others: Names of values that were logged, but that the policy does not get: those of single batches.
        complete: An epoch has ended in which every metric could have been logged. If a monitored metric was not
            logged, a warning names it, and after some epochs it is an error.
        deadline: When the job will be ended, in UTC seconds since 1970, if that is known. A different number means a
            different deadline, so it stays the same at every event unless the job's end has really moved.
        save_id: For `SAVED` and `DROPPED`: the `Save.id` of the save with this outcome.
        error: For `DROPPED`: the reason. Otherwise: the message of a `MetricError` about the metrics, with which
            training ends after a save.
        busy: For `DROPPED`: the save was not attempted, because earlier ones were still being written.
        blocked: For `SAVED` and `DROPPED`: for how many seconds the save blocked the training thread. None if that
            was not measured, or if nothing had to be written.
        weights: An identity of the weights at the event; see `same_weights`. None if it is unknown.
        batches: Training batches done so far by this process, including those without an update. None if that is
            unknown.
    """

    kind: EventKind
    step: int = 0
    epoch: int = 0
    time: float = 0.0
    wall: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    others: frozenset[str] = frozenset()
    complete: bool = False
    deadline: float | None = None
    save_id: int | None = None
    error: str | None = None
    busy: bool = False
    blocked: float | None = None
    weights: Hashable | None = None
    batches: int | None = None

    @property
    def epoch_index(self) -> int:
        """Zero-based index of the epoch in which the event happened, as Keras counts epochs."""
        return max(0, self.epoch - 1) if self.kind is EventKind.EPOCH_END else self.epoch

    @classmethod
    def start(cls, **facts: Any) -> Event:
        """Return the event of a `fit` that begins."""
        return cls(EventKind.START, **facts)

    @classmethod
    def step_end(cls, **facts: Any) -> Event:
        """Return the event of the end of an optimizer step."""
        return cls(EventKind.STEP_END, **facts)

    @classmethod
    def validation_end(cls, **facts: Any) -> Event:
        """Return the event of the end of a validation within an epoch."""
        return cls(EventKind.VALIDATION_END, **facts)

    @classmethod
    def epoch_end(cls, *, complete: bool = True, **facts: Any) -> Event:
        """Return the event of the end of an epoch and its validation."""
        return cls(EventKind.EPOCH_END, complete=complete, **facts)

    @classmethod
    def preempt(cls, **facts: Any) -> Event:
        """Return the event of a request to end the process."""
        return cls(EventKind.PREEMPT, **facts)

    @classmethod
    def demand(cls, **facts: Any) -> Event:
        """Return the event of a request for a checkpoint."""
        return cls(EventKind.DEMAND, **facts)

    @classmethod
    def exception(cls, **facts: Any) -> Event:
        """Return the event of an exception during training."""
        return cls(EventKind.EXCEPTION, **facts)

    @classmethod
    def end(cls, **facts: Any) -> Event:
        """Return the event of the end of a `fit`."""
        return cls(EventKind.END, **facts)

    @classmethod
    def saved(cls, save_id: int, *, blocked: float | None = None) -> Event:
        """Return the outcome of a successful save."""
        _check("saved", blocked)
        return cls(EventKind.SAVED, save_id=save_id, blocked=blocked)

    @classmethod
    def dropped(
        cls, save_id: int, error: str, *, step: int = 0, blocked: float | None = None, busy: bool = False
    ) -> Event:  # fmt: skip
        """Return the outcome of a failed or skipped save."""
        _check("dropped", blocked)
        return cls(EventKind.DROPPED, step, save_id=save_id, error=error, blocked=blocked, busy=busy)


def same_weights(a: Event, b: Event) -> bool:
    """Return True if the weights at two events are known to be the same. False means that they may differ."""
    return a.weights is not None and a.weights == b.weights


def _check(what: str, blocked: float | None) -> None:
    if blocked is not None and not 0 <= blocked < math.inf:
        raise PolicyError(f"Event.{what}: blocked is {blocked!r}; expected seconds of at least 0, or None")
