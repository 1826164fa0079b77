"""The facts of one checkpoint and of one start of a training, as the manifest keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from .versions import known_fields

if TYPE_CHECKING:
    from pathlib import Path


class Status(str, Enum):
    """Where a checkpoint stands: ``writing → committed → verified → (thinned) → deleted``, or ``failed``."""

    WRITING = "writing"
    COMMITTED = "committed"
    VERIFIED = "verified"
    THINNED = "thinned"
    DELETED = "deleted"
    FAILED = "failed"

    @property
    def on_disk(self) -> bool:
        """The checkpoint's file is expected to be there."""
        return self in (Status.COMMITTED, Status.VERIFIED, Status.THINNED)


@dataclass(frozen=True)
class Record:
    """One checkpoint's facts.

    Attributes:
        id: Unique in its directory; grows with every save, so it also orders them.
        file: Name inside the run directory. Decoration: nothing is ever read out of it.
        step: Optimizer updates done. epoch: completed epochs.
        time: Training seconds. wall: UTC seconds since 1970.
        metrics: Raw metrics measured at this checkpoint's own weights.
        scores: Smoothed values of the same moment, by `Metric.series`.
        timings: Seconds that the save took: ``blocked``, for which the training thread waited for it; ``written`` and
            ``verified``, from the decision until it was durable, and until it was read back. What nobody measured is
            not there.
        size: Bytes on disk. digest: ``algorithm:hex`` over every byte.
        contents: ``full`` or ``weights``. resumable: a run can continue from it.
        run, attempt, parent: which run, which start of it, and the record that this start continued from.
        superseded: A later attempt went back behind this record.
        exceptional: Saved while training was failing: never ``best``. final: the state when a `fit` ended.
        tags: Names that people moved here. pinned: never deleted.
        reasons: Why it was saved. error: why it failed.
        directory: Where the manifest was read; no fact of the record, and not written down.
    """

    id: int
    file: str
    step: int = 0
    epoch: int = 0
    time: float = 0.0
    wall: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    size: int = 0
    digest: str = ""
    contents: str = "full"
    resumable: bool = True
    status: Status = Status.WRITING
    run: str = ""
    attempt: int = 1
    parent: int | None = None
    superseded: bool = False
    exceptional: bool = False
    final: bool = False
    tags: tuple[str, ...] = ()
    pinned: bool = False
    reasons: tuple[str, ...] = ()
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    directory: str = field(default="", compare=False, repr=False)

    @property
    def path(self) -> Path:
        """Where the checkpoint lies."""
        from pathlib import Path  # here, because the core is imported in a few dozen milliseconds without it

        return Path(self.directory, self.file)

    def replace(self, **changes: Any) -> Record:
        """A copy with some facts changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back. Non-finite floats become strings."""
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        facts |= {"status": self.status.value, "tags": list(self.tags), "reasons": list(self.reasons)}
        del facts["directory"]
        facts |= {name: _floats_out(getattr(self, name)) for name in ("metrics", "scores", "timings")}
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any], directory: str = "") -> Record:
        """The record that `to_json` described; facts from a newer version that are unknown here are dropped."""
        kept = known_fields(cls, facts)
        for name in ("tags", "reasons"):
            kept[name] = tuple(kept.get(name, ()))
        for name in ("metrics", "scores", "timings"):
            kept[name] = {key: float(value) for key, value in kept.get(name, {}).items()}
        kept["status"] = Status(kept.get("status", "writing"))
        return cls(**kept | {"directory": directory})


def _floats_out(values: Mapping[str, float]) -> dict[str, float | str]:
    # JSON has no NaN: "nan" and "inf" as strings, which float() takes back.
    return {k: v if v - v == 0 else str(v) for k, v in values.items()}


_FRAMEWORK_OF = {"LightningCheckpoint": "lightning", "KerasCheckpoint": "keras"}  # by the callback's class


@dataclass(frozen=True)
class Attempt:
    """When and where it began, and from what.

    Attributes:
        run: Identifies the run; kept over resumes. number: 1 for the first start of the run, then counting up.
        parent: Id of the record that this start continued from; None for a fresh one.
        wall: UTC seconds since 1970. facts: host, process, framework versions and the like.
    """

    run: str
    number: int
    parent: int | None
    wall: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Attempt:
        """The attempt that was written; facts from a newer version that are unknown here are dropped."""
        return cls(**known_fields(cls, facts))


def attempt_framework(attempt: Attempt) -> str | None:
    """Return the framework whose files the attempt wrote, such as ``"lightning"``; None where that is not known.

    Journals of earlier versions name the callback's class instead, as ``holder``.
    """
    facts = attempt.facts
    return facts.get("framework") or _FRAMEWORK_OF.get(facts.get("holder", ""))
