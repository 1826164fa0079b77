"""The deletion of what a policy does not keep, by hand, also while a run trains in the directory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import StoreError
from ..policy.budget import protected
from ..policy.policy import Policy
from ..policy.unranked import ranked_by_unlogged
from ..record import Record
from ..store.manifest import Manifest
from .leftovers import Leftovers
from .pruning import delete
from .saved_run import recorded_budget, recorded_policy
from .view import RunView, missing_ids

VERSION = 1


@dataclass(frozen=True)
class Removal:
    """One checkpoint to delete.

    Attributes:
        record: Its record.
        reason: Why nothing keeps it.
    """

    record: Record
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the line of a plan file."""
        record = self.record
        return {
            "version": VERSION, "action": "delete", "id": record.id, "file": record.file, "size": record.size,
            "digest": record.digest, "reason": self.reason,
        }  # fmt: skip


def order_of_removal(view: RunView) -> list[Record]:
    """Return what may go to make room, in the order in which it goes: first what no rule keeps, oldest first.

    Args:
        view: The run, with a policy.
    """
    stay, found = _protected(view, _policies_of(view)), view.by_rules()
    return [record for record in (*found.remove, *view.removal_order(found.keep)) if record.id not in stay]


class Pruning:
    """The checkpoints of the newest run in a directory that its policy, or another one, does not keep.

    Those that are pinned or tagged, that a link names, or from which a run would resume are never among them.

    Args:
        manifest: The directory's manifest.
        policy: The policy that says what is kept.

    Raises:
        StoreError: It ranks by a metric that was never logged.
    """

    def __init__(self, manifest: Manifest, policy: Policy) -> None:
        self._manifest, self._leftovers = manifest, Leftovers(manifest.layout.staging)
        dirpath = manifest.layout.dirpath
        self._view = RunView(manifest, policy, recorded_budget(manifest))
        self._view.missing |= missing_ids(manifest)  # what takes their place is needed instead
        self._policies = _policies_of(self._view)
        if unlogged := ranked_by_unlogged(policy, self._view.records()):
            raise StoreError(f"{dirpath}: {' and '.join(map(repr, unlogged))} was never logged; nothing is deleted")

    def removals(self) -> list[Removal]:
        """Return what nothing keeps, oldest first."""
        stay = _protected(self._view, self._policies)
        return [Removal(record, "no rule keeps it") for record in self._view.plan().remove if record.id not in stay]

    def read(self, lines: Iterable[str], source: str) -> Iterator[Removal]:
        """Yield the removals of a plan file.

        Args:
            lines: Its lines.
            source: Its name, for messages.

        Raises:
            StoreError: A line is no removal of a checkpoint that exists, or that checkpoint is protected now.
        """
        stay = _protected(self._view, self._policies)
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield self._read(line, stay, f"{source}, line {number}")

    def delete(self, removal: Removal) -> bool:
        """Delete a checkpoint.

        Returns:
            False if it stays, because somebody has changed it since, or its file cannot be deleted.
        """
        planned = removal.record

        def may(now: Record) -> bool:
            return now.digest == planned.digest and now.id not in _protected(self._view, self._policies)

        is_deleted = delete(self._manifest, planned, may, self._leftovers, removal.reason)
        return is_deleted and not os.path.lexists(planned.path)

    def close(self) -> None:
        """Let the journal say which of the deletions are complete."""
        self._manifest.say_gone()

    def _read(self, line: str, stay: Mapping[int, str], where: str) -> Removal:
        try:
            facts = json.loads(line)
        except ValueError:
            facts = None
        is_removal = isinstance(facts, Mapping) and (facts.get("version"), facts.get("action")) == (VERSION, "delete")
        if not is_removal or not isinstance(facts.get("id"), int):
            raise StoreError(f"{where}: is not a removal; expected a line that `ckpt prune --plan` wrote")
        record = self._manifest.records.get(facts["id"])
        if record is None or not record.status.on_disk or record.digest != facts.get("digest"):
            raise StoreError(f"{where}: there is no such checkpoint any more: {facts.get('file')}; plan again")
        if record.id in stay:
            raise StoreError(f"{where}: {record.file} must stay: {stay[record.id]}; plan again")
        return Removal(record, str(facts.get("reason", "")))


def _policies_of(view: RunView) -> list[Policy]:
    """Return the policies whose links stay: that of the view, and the recorded one, which the links follow."""
    return [known for known in (recorded_policy(view.manifest), view.policy) if known is not None]


def _protected(view: RunView, policies: Sequence[Policy]) -> dict[int, str]:
    """Return why checkpoints stay, whatever the rules say, by their ids."""
    found: dict[int, str] = {}
    for policy in policies:
        found |= protected(view.records(), policy.best_metric)
    return found
