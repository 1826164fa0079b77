"""The plan that makes a mirror hold what its rules say, as lines of a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..policy.contents import FULL
from .catalog import Entry

if TYPE_CHECKING:
    from .pushing import Due, Pushing

VERSION = 1


@dataclass(frozen=True)
class Step:
    """One checkpoint to send, or to delete in the mirror.

    Attributes:
        due: The checkpoint to send, and what is needed of it.
        entry: The entry to delete.
    """

    due: Due | None = None
    entry: Entry | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the line of a plan file."""
        if self.due is not None:
            record, needed = self.due
            facts: dict[str, Any] = {"contents": str(needed)} if needed != FULL else {}
            why = "the mirror lacks it"
        else:
            assert self.entry is not None
            record, facts, why = self.entry.record, {"entry": self.entry.number}, "no rule of the mirror keeps it"
        action = "send" if self.due is not None else "delete"
        return {
            "version": VERSION, "action": action, "id": record.id, "file": record.file, "size": record.size,
            "digest": record.digest, **facts, "reason": why,
        }  # fmt: skip

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells it from any other step."""
        return _identity(self.to_json())


def _identity(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(facts.get(name) for name in ("version", "action", "id", "digest", "contents", "entry"))


def steps_of(pushing: Pushing) -> list[Step]:
    """Return what is to be done: first what is sent, newest first, then what is deleted."""
    sent = pushing.wanted()
    doomed = pushing.removable([record for record, _ in sent])
    return [*(Step(due=due) for due in sent), *(Step(entry=entry) for entry in doomed)]


def read_steps(pushing: Pushing, lines: Iterable[str], source: str) -> list[Step]:
    """Return the steps of a plan file.

    Args:
        pushing: The mirror as it is now.
        lines: The lines of the file.
        source: Its name, for messages.

    Raises:
        StoreError: A line is no step, or does not fit any more.
    """
    known = {step.identity: step for step in (Step(due=due) for due in pushing.wanted())}
    read = [(f"{source}, line {number}", _facts(line, f"{source}, line {number}"))
            for number, line in enumerate(lines, start=1) if line.strip()]  # fmt: skip
    sent = [step.due[0] for _, facts in read if (step := known.get(_identity(facts))) is not None and step.due]
    known |= {step.identity: step for step in (Step(entry=entry) for entry in pushing.removable(sent))}
    for where, facts in read:
        if _identity(facts) not in known:
            what = "sent" if facts["action"] == "send" else "deleted there"
            raise StoreError(f"{where}: {facts.get('file')} is not to be {what} any more; plan again")
    steps = {_identity(facts): known[_identity(facts)] for _, facts in read}
    return sorted(steps.values(), key=lambda step: step.due is None)


def still_removable(pushing: Pushing, steps: Sequence[Step]) -> list[Entry]:
    """Return the entries that a plan deletes, and that nothing keeps now that its checkpoints have been sent."""
    may = {entry.number for entry in pushing.removable()}
    return [step.entry for step in steps if step.entry is not None and step.entry.number in may]


def _facts(line: str, where: str) -> Mapping[str, Any]:
    try:
        facts = json.loads(line)
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or facts.get("version") != VERSION or facts.get("action") not in ("send", "delete"):
        raise StoreError(f"{where}: is no step; expected a line that `ckpt sync --plan` wrote")
    return facts
