"""What the engine remembers between events: plain facts, no configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ResumeError
from .costs import Costs
from .track import Track

STATE_VERSION = 1


@dataclass(frozen=True)
class Due:
    """State of one `Every`, `At` or `OnDeadline`.

    Attributes:
        crossed: How many thresholds were crossed; for a deadline the last one that was near. due: a save is owed.
    """

    crossed: float
    due: bool


@dataclass(frozen=True)
class Pending:
    """A save that was asked for and has no outcome yet.

    Attributes:
        leaves: The intervals it answers. scores: the values it would secure. time: training time when it was asked for.
    """

    leaves: tuple[str, ...]
    scores: Mapping[str, float]
    time: float


@dataclass(frozen=True)
class State:
    """Everything the engine remembers: plain facts, no configuration. `to_json` and `from_json` keep it exactly.

    Attributes:
        step, epoch, time: Where the run stands.
        tracks, dues, non_finite: What became of its metrics, intervals and deadlines, and odd values.
        pending: Saves under way. saves: how many were asked for.
        failures: How many were dropped in a row. retry_step: no step before it tries again.
        seen: Names that were ever logged, and the sums that were measured (`Metric.together`).
        costs: What saves cost so far.
    """

    step: int = 0
    epoch: int = 0
    time: float = 0.0
    tracks: Mapping[str, Track] = field(default_factory=dict)
    dues: Mapping[str, Due] = field(default_factory=dict)
    non_finite: Mapping[str, int] = field(default_factory=dict)
    pending: Mapping[int, Pending] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()
    saves: int = 0
    failures: int = 0
    retry_step: int = 0
    costs: Costs = Costs()

    def to_json(self) -> dict[str, Any]:
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return facts | {
            "version": STATE_VERSION,
            "tracks": {key: track.to_json() for key, track in self.tracks.items()},
            "dues": {key: dataclasses.asdict(due) for key, due in self.dues.items()},
            "non_finite": dict(self.non_finite),
            "pending": {
                str(id_): {"leaves": list(asked.leaves), "scores": dict(asked.scores), "time": asked.time}
                for id_, asked in self.pending.items()
            },
            "seen": sorted(self.seen),
            "costs": self.costs.to_json(),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> State:
        version = facts.get("version")
        if not isinstance(version, int) or version > STATE_VERSION:
            raise ResumeError(
                f"policy state: version is {version!r}; expected at most {STATE_VERSION}; "
                "install a newer ckpt-callbacks"
            )
        known = {f.name for f in dataclasses.fields(cls)}
        kept = {name: value for name, value in facts.items() if name in known}
        return cls(
            **kept
            | {
                "tracks": {key: Track.from_json(track) for key, track in facts["tracks"].items()},
                "dues": {key: Due(**due) for key, due in facts["dues"].items()},
                "pending": {
                    int(id_): Pending(tuple(p["leaves"]), dict(p["scores"]), p.get("time", facts["time"]))
                    for id_, p in facts["pending"].items()
                },
                "seen": frozenset(facts["seen"]),
                "costs": Costs.from_json(facts.get("costs", {})),  # states from before it was counted have none
            }
        )
