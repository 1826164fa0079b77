"""The memory of the engine between events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..record import check_version
from .costs import Costs
from .metric import JOINT
from .track import Track

STATE_VERSION = 1


@dataclass(frozen=True)
class IntervalState:
    """The state of one `Every`, `At` or `OnDeadline`.

    Attributes:
        crossed: How many thresholds have been crossed; for a deadline, the last one that came near.
        owed: A save is owed.
    """

    crossed: float
    owed: bool


@dataclass(frozen=True)
class Pending:
    """A save that was requested and has no outcome yet.

    Attributes:
        triggers: Keys of the intervals that it answers.
        scores: The compared values that it would save, by the keys of their tracks.
        time: Training time when it was requested.
    """

    triggers: tuple[str, ...]
    scores: Mapping[str, float]
    time: float


@dataclass(frozen=True)
class State:
    """Everything that `decide` remembers of a run: plain facts, no configuration.

    Checkpoints contain it, so that a resumed run decides as the interrupted one would have. `to_json` and `from_json`
    preserve it exactly.

    Attributes:
        step: Optimizer updates done.
        epoch: Completed epochs.
        time: Training time in seconds.
        tracks: Smoothed value, best value and patience of each metric, by `Policy.tracks`.
        intervals: The state of each interval and of each deadline, by `Trigger.key`.
        non_finite: How many times in a row each metric that `NonFinite` watches was NaN or infinite.
        pending: Saves without an outcome, by `Save.id`.
        saves: How many saves have been requested.
        failures: How many saves have failed in a row.
        retry_step: The step before which a failed save is not tried again.
        logged_names: Names of all metrics that were ever logged.
        joint_keys: The weighted sums whose parts were ever logged at one event, by `Metric.joint_key`.
        costs: What the saves have cost so far.
        whole_epochs: How many epochs have ended in which every metric could have been logged.
        fresh_names: Those of the ``logged_names`` that were logged since training was last started.
        fresh_joint_keys: Those of the ``joint_keys`` that were logged since then.
        fresh_epochs: How many of the ``whole_epochs`` have ended since then.
    """

    step: int = 0
    epoch: int = 0
    time: float = 0.0
    tracks: Mapping[str, Track] = field(default_factory=dict)
    intervals: Mapping[str, IntervalState] = field(default_factory=dict)
    non_finite: Mapping[str, int] = field(default_factory=dict)
    pending: Mapping[int, Pending] = field(default_factory=dict)
    saves: int = 0
    failures: int = 0
    retry_step: int = 0
    logged_names: frozenset[str] = frozenset()
    joint_keys: frozenset[str] = frozenset()
    costs: Costs = Costs()
    whole_epochs: int = 0
    fresh_names: frozenset[str] = frozenset()
    fresh_joint_keys: frozenset[str] = frozenset()
    fresh_epochs: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, which `from_json` reads back."""
        return {
            "version": STATE_VERSION,
            "step": self.step,
            "epoch": self.epoch,
            "time": self.time,
            "tracks": {key: track.to_json() for key, track in self.tracks.items()},
            "dues": {key: {"crossed": one.crossed, "due": one.owed} for key, one in self.intervals.items()},
            "non_finite": dict(self.non_finite),
            "pending": {
                str(id_): {"leaves": list(asked.triggers), "scores": dict(asked.scores), "time": asked.time}
                for id_, asked in self.pending.items()
            },
            "seen": sorted(self.logged_names | self.joint_keys),
            "saves": self.saves,
            "failures": self.failures,
            "retry_step": self.retry_step,
            "costs": self.costs.to_json(),
            "whole_epochs": self.whole_epochs,
            "fresh": {"seen": sorted(self.fresh_names | self.fresh_joint_keys), "epochs": self.fresh_epochs},
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> State:
        """Return the state that `to_json` described.

        Raises:
            ResumeError: A newer version wrote it.
        """
        check_version(facts.get("version"), STATE_VERSION, "policy state")
        names, joint = _separated(facts["seen"])
        fresh = facts.get("fresh", {"seen": (), "epochs": 0})  # earlier versions did not write this
        fresh_names, fresh_joint = _separated(fresh["seen"])
        plain = ("step", "epoch", "time", "non_finite", "saves", "failures", "retry_step", "whole_epochs")
        return cls(
            **{name: facts[name] for name in plain if name in facts},
            tracks={key: Track.from_json(track) for key, track in facts["tracks"].items()},
            intervals={key: IntervalState(one["crossed"], one["due"]) for key, one in facts["dues"].items()},
            pending={
                int(id_): Pending(tuple(one["leaves"]), dict(one["scores"]), one.get("time", facts["time"]))
                for id_, one in facts["pending"].items()
            },
            logged_names=names,
            joint_keys=joint,
            costs=Costs.from_json(facts.get("costs", {})),  # states written before costs were measured have none
            fresh_names=fresh_names,
            fresh_joint_keys=fresh_joint,
            fresh_epochs=fresh["epochs"],
        )


def _separated(seen: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of metrics and the keys of weighted sums, which the state holds in one list."""
    joint = frozenset(name for name in seen if name.endswith(JOINT))
    return frozenset(seen) - joint, joint
