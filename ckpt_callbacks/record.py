"""The facts of one checkpoint, and of one start of a training run, in the manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from .errors import ResumeError

if TYPE_CHECKING:
    from pathlib import Path

ALIASES = ("last", "best", "final")  # links to a run's checkpoints
_LONGEST_TAG = 200  # characters
_TUPLES = ("unknown", "tags", "reasons")  # the fields that are lists in JSON


class Status(str, Enum):
    """The state of a checkpoint: ``writing → committed → verified → (thinned) → deleted``, or ``failed``."""

    WRITING = "writing"
    COMMITTED = "committed"
    VERIFIED = "verified"
    THINNED = "thinned"
    DELETED = "deleted"
    FAILED = "failed"

    @property
    def on_disk(self) -> bool:
        """Whether the checkpoint's file should exist."""
        return self in (Status.COMMITTED, Status.VERIFIED, Status.THINNED)


@dataclass(frozen=True)
class Record:
    """The facts of one checkpoint, as the callbacks' ``records()``, ``best()`` and ``last()`` return them.

    Attributes:
        id: A number that is unique in the directory and grows with every save.
        file: Name of the file in the run directory. For people only: no code parses it.
        step: Optimizer updates done.
        epoch: Completed epochs.
        unknown: The names of those of these two that are not known, and therefore 0, because other code has saved it.
        time: Training time in seconds, accumulated over resumes.
        wall: UTC seconds since 1970.
        metrics: Raw metrics measured at this checkpoint's weights.
        scores: Smoothed values at the same moment, by `Metric.series`.
        timings: Durations in seconds: ``blocked``, the time for which training waited; ``written``, from the decision
            until the file was durable; ``verified``, from the decision until it was read back. Unmeasured ones are
            missing.
        size: Bytes on disk.
        digest: ``algorithm:hex`` over every byte.
        contents: ``full`` or ``weights``.
        compressed: The facts of the native file in a compressed one: ``codec``, ``digest`` and ``size``. If its
            compression was tried and gained too little, ``gain``, the part of its bytes. Empty if neither.
        shards: The facts of the native file that was split into a folder of shards: ``max_size``, ``digest`` and
            ``size``. Empty if it was not.
        reduced: What a rewrite has rounded or left out, as docs/contents.md describes; empty if nothing.
        resumable: A run can continue from it.
        finite: False if it is known that a trained weight is NaN or infinite, or that training ended because a metric
            was. Such a checkpoint is not resumable, and never becomes ``best``.
        status: Its state, from ``writing`` to ``deleted``.
        run: Identifies the run, across resumes.
        attempt: Number of the run's start that saved it, from 1.
        parent: Id of the record from which that start continued, if any.
        fit: Number of the script's `fit` in this directory that saved it, from 1; a script that is started again
            counts from 1 again.
        identity: Tells its file from any other that takes its name; empty if that is not known.
        replacement: The facts of the smaller file that is taking the place of its file: ``digest``, ``size``,
            ``contents``, ``reduced``, ``compressed`` and ``shards``. Empty at any other time; see
            `ckpt_callbacks.store.replacement`, and for files of another name `ckpt_callbacks.store.succession`.
        superseded: A later attempt resumed from an older checkpoint, which left this one on a dead branch.
        exceptional: Saved while training was failing, so that it never becomes ``best``.
        final: The state at the end of a `fit`.
        tags: Names that users gave it.
        pinned: Never deleted.
        reasons: Why it was saved.
        error: Why it failed, if it did.
        absent: Its file is known to be gone: the deletion was completed, or it was missing when it was looked for. A
            file of that name has been put there since.
        metadata: Facts about the training, such as the seed, and its environment.
        directory: The run directory it was read from; not written to the manifest.
    """

    id: int
    file: str
    step: int = 0
    epoch: int = 0
    unknown: tuple[str, ...] = ()
    time: float = 0.0
    wall: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    size: int = 0
    digest: str = ""
    identity: str = ""
    contents: str = "full"
    compressed: Mapping[str, Any] = field(default_factory=dict)
    shards: Mapping[str, Any] = field(default_factory=dict)
    reduced: Mapping[str, Any] = field(default_factory=dict)
    resumable: bool = True
    finite: bool = True
    status: Status = Status.WRITING
    run: str = ""
    attempt: int = 1
    parent: int | None = None
    fit: int = 1
    replacement: Mapping[str, Any] = field(default_factory=dict)
    superseded: bool = False
    exceptional: bool = False
    final: bool = False
    tags: tuple[str, ...] = ()
    pinned: bool = False
    reasons: tuple[str, ...] = ()
    error: str | None = None
    absent: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    directory: str = field(default="", compare=False, repr=False)

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name}={value:.6g}" for name, value in self.metrics.items())
        facts = (self.file, self.status.value, *self.words("step", "epoch"), f"{{{metrics}}}")
        return f"<Record {self.id}: {', '.join(facts)}>"

    @property
    def path(self) -> Path:
        """The path of the checkpoint."""
        from pathlib import Path  # here, so that importing the core takes only a few dozen milliseconds

        return Path(self.directory, self.file)

    @property
    def is_spoiled(self) -> bool:
        """Whether its save succeeded, but the file was found damaged or missing later."""
        return self.status is Status.FAILED and "verified" in self.timings

    def known(self, name: Literal["step", "epoch"]) -> int | None:
        """Return ``step`` or ``epoch``; None if it is not known."""
        return None if name in self.unknown else getattr(self, name)

    def words(self, *names: Literal["step", "epoch"]) -> list[str]:
        """Return ``step 120`` and the like for each of these names, without those that are not known."""
        return [f"{name} {value}" for name in names if (value := self.known(name)) is not None]

    def replace(self, **changes: Any) -> Record:
        """Return a copy with some facts changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, which `from_json` reads back; NaN and infinities become strings."""
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        facts |= {"status": self.status.value, **{name: list(facts[name]) for name in _TUPLES}}
        del facts["directory"]
        facts |= {name: _floats_out(getattr(self, name)) for name in ("metrics", "scores", "timings")}
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any], directory: str = "") -> Record:
        """Return the record that `to_json` described; unknown facts, from a newer version, are dropped."""
        kept = known_fields(cls, facts)
        for name in _TUPLES:
            kept[name] = tuple(kept.get(name, ()))
        for name in ("metrics", "scores", "timings"):
            kept[name] = {key: float(value) for key, value in kept.get(name, {}).items()}
        kept["status"] = Status(kept.get("status", "writing"))
        kept.setdefault("absent", _was_absent(kept))
        return cls(**kept | {"directory": directory})


def _was_absent(facts: Mapping[str, Any]) -> bool:
    """Return what an earlier version, which had no such fact, said in the error about a record's file."""
    error = facts.get("error") or ""
    if facts["status"] is Status.FAILED:
        return f"{facts['file']}: missing" in error
    return facts["status"] is Status.DELETED and bool(error)


def is_tag(name: object) -> bool:
    """Return whether a name can be a tag: printable on one line, and neither a number, as ids are, nor an alias."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= _LONGEST_TAG
        and name == name.strip()
        and name.isprintable()
        and not name.isdecimal()
        and name not in ALIASES
    )


def _floats_out(values: Mapping[str, float]) -> dict[str, float | str]:
    # JSON has no NaN: "nan" and "inf" are strings, which float() reads back.
    return {k: v if v - v == 0 else str(v) for k, v in values.items()}


FRAMEWORK_OF = {"LightningCheckpoint": "lightning", "KerasCheckpoint": "keras"}  # by the callback's class
CALLED = {"lightning": "Lightning", "keras": "Keras"}  # the frameworks, for people


@dataclass(frozen=True)
class Attempt:
    """One start of a training run, as the manifest stores it.

    Attributes:
        run: Identifies the run, across resumes.
        number: 1 for the first start of the run, then counting up.
        parent: Id of the record that this start continued from; None for a new run.
        wall: UTC seconds since 1970.
        facts: The host, the framework, the policy, and the like.
    """

    run: str
    number: int
    parent: int | None
    wall: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Attempt:
        """Return the attempt that was written; facts from a newer version that this one does not know are dropped."""
        return cls(**known_fields(cls, facts))


def attempt_framework(attempt: Attempt) -> str | None:
    """Return the framework whose files the attempt wrote, such as ``"lightning"``; None if that is not known.

    Journals of earlier versions name the callback's class instead, as ``holder``.
    """
    facts = attempt.facts
    return facts.get("framework") or FRAMEWORK_OF.get(facts.get("holder", ""))


def known_fields(cls: type, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return only the ``facts`` that are fields of a dataclass; a newer version may have written others."""
    known = {f.name for f in fields(cls)}
    return {name: value for name, value in facts.items() if name in known}


def check_version(found: object, known: int, what: str) -> None:
    """Refuse data that a newer version wrote in a format that this one does not know.

    Args:
        found: The version that was read.
        known: The newest version that this package reads.
        what: The subject of the error message, such as ``"policy state"``.

    Raises:
        ResumeError: ``found`` is newer than ``known``, or is not a version.
    """
    if not isinstance(found, int) or found > known:
        raise ResumeError(f"{what}: version is {found!r}; expected at most {known}; install a newer ckpt-callbacks")
