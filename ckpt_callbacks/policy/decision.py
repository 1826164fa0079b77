"""The engine's answer to an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Save:
    """A request of the engine to save now.

    Attributes:
        id: Its number in the run, from 1; `Event.saved` and `Event.dropped` name it.
        reasons: Why, in words.
        scores: The smoothed values of the metrics at this moment, by `Metric.series`.
    """

    id: int
    reasons: tuple[str, ...]
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """A request of the engine to end the training.

    Attributes:
        reasons: Why, in words.
    """

    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """The answer of `decide` to one event.

    Attributes:
        save: The save to make, if one is due.
        stop: The stop, if training should end.
        error: The message of the `MetricError` with which training ends after the save; empty if there is none.
    """

    save: Save | None = None
    stop: Stop | None = None
    error: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """All reasons; those for the save come first."""
        return (self.save.reasons if self.save else ()) + (self.stop.reasons if self.stop else ())
