"""Facts that flow from a training loop into the engine, and outcomes that flow back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .errors import PolicyError


class EventKind(str, Enum):
    """What happened."""

    START = "start"  # `fit` begins, fresh or resumed
    STEP_END = "step_end"  # an optimizer step is done
    VALIDATION_END = "validation_end"  # a validation in mid-epoch is done
    EPOCH_END = "epoch_end"  # an epoch and its validation are done
    PREEMPT = "preempt"  # the scheduler or the user wants the process to end
    DEMAND = "demand"  # somebody asked for a checkpoint
    EXCEPTION = "exception"  # training raised
    END = "end"  # `fit` ends
    SAVED = "saved"  # a save that was asked for is durable
    DROPPED = "dropped"  # a save that was asked for did not happen


@dataclass(frozen=True)
class Event:
    """One fact from the training loop.

    Attributes:
        kind: What happened.
        step: Optimizer updates done so far. For `SAVED` and `DROPPED`: when that became known; 0 for the last event's.
        epoch: *Completed* epochs: 1 at the first epoch's end.
        time: Training seconds accumulated over all resumes, monotonic.
        wall: UTC seconds since 1970; for names, records and deadlines.
        metrics: Metrics measured at exactly this step's weights. Nothing older belongs here.
        complete: Every metric that this loop will ever log could have been logged by now, so a monitored
            one that never was is an error.
        deadline: When the job is going to be ended, in UTC seconds since 1970, as far as that is known. Another number
            is another deadline, so it is the same at every event until the job's end is really moved.
        save_id: For `SAVED` and `DROPPED`: which `Save` this is the outcome of.
        error: For `DROPPED`: why. busy: it was not tried, because earlier saves were still written.
        blocked: For `SAVED` and `DROPPED`: for how many seconds the save blocked the training thread. None: nobody
            measured it, or nothing had to be written.
    """

    kind: EventKind
    step: int = 0
    epoch: int = 0
    time: float = 0.0
    wall: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    complete: bool = False
    deadline: float | None = None
    save_id: int | None = None
    error: str | None = None
    busy: bool = False
    blocked: float | None = None

    @property
    def epoch_index(self) -> int:
        """Zero-based index of the epoch that the event happened in, as Keras counts epochs."""
        return max(0, self.epoch - 1) if self.kind is EventKind.EPOCH_END else self.epoch

    @classmethod
    def start(cls, **facts: Any) -> Event:
        return cls(EventKind.START, **facts)

    @classmethod
    def step_end(cls, **facts: Any) -> Event:
        return cls(EventKind.STEP_END, **facts)

    @classmethod
    def validation_end(cls, **facts: Any) -> Event:
        return cls(EventKind.VALIDATION_END, **facts)

    @classmethod
    def epoch_end(cls, *, complete: bool = True, **facts: Any) -> Event:
        return cls(EventKind.EPOCH_END, complete=complete, **facts)

    @classmethod
    def preempt(cls, **facts: Any) -> Event:
        return cls(EventKind.PREEMPT, **facts)

    @classmethod
    def demand(cls, **facts: Any) -> Event:
        return cls(EventKind.DEMAND, **facts)

    @classmethod
    def exception(cls, **facts: Any) -> Event:
        return cls(EventKind.EXCEPTION, **facts)

    @classmethod
    def end(cls, **facts: Any) -> Event:
        return cls(EventKind.END, **facts)

    @classmethod
    def saved(cls, save_id: int, *, blocked: float | None = None) -> Event:
        _check("saved", blocked)
        return cls(EventKind.SAVED, save_id=save_id, blocked=blocked)

    @classmethod
    def dropped(
        cls, save_id: int, error: str, *, step: int = 0, blocked: float | None = None, busy: bool = False
    ) -> Event:  # fmt: skip
        _check("dropped", blocked)
        return cls(EventKind.DROPPED, step, save_id=save_id, error=error, blocked=blocked, busy=busy)


def _check(what: str, blocked: float | None) -> None:
    if blocked is not None and not 0 <= blocked < math.inf:
        raise PolicyError(f"Event.{what}: blocked is {blocked!r}; expected seconds of at least 0, or None")
