"""The records of a run directory as `ckpt` lists them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from ..errors import StoreError
from ..mirrors.recorded import recorded_urls
from ..policy.costs import Costs
from ..policy.plan import Plan
from ..policy.policy import Policy
from ..policy.ranking import alias_targets, newest_resumable
from ..policy.unranked import ranked_by_unlogged
from ..record import ALIASES, Record, Status
from ..recovery.settled import FAILURES
from ..run.saved_run import recorded_budget
from ..run.view import RunView, missing_ids
from ..store.aliases import target_of
from ..store.all_records import all_records
from ..store.condition import condition
from ..store.history import Moved
from ..store.manifest import Manifest
from .output import say


class Listing:
    """All records of a directory, with what the newest run's policy says about them.

    Args:
        manifest: The directory's manifest.
        policy: The policy of the newest run; None if it is not known.
        everything: Whether to read the history as well.

    Attributes:
        records: The records of the manifest, and with ``everything`` also those of the history, oldest first.
        view: The newest run.
        missing: The ids of the records whose file should exist and does not.
        aliases: The names of each record, by record id.
    """

    def __init__(self, manifest: Manifest, policy: Policy | None = None, *, everything: bool = False) -> None:
        self._manifest, self._dirpath = manifest, manifest.layout.dirpath
        self.missing = missing_ids(manifest)
        self.view = view = RunView(manifest, policy, recorded_budget(manifest))
        self._meant = view.aliases()  # as if no file were missing
        view.missing = self.missing
        moved, known = manifest.history.moved, all_records(manifest) if everything else manifest.records.values()
        self._moved = Moved() if everything else moved
        self.records = sorted(known, key=lambda record: record.id)
        self.aliases: dict[int, list[str]] = {}
        for name, record in (view.aliases() if self.missing else self._meant).items():
            if record is not None:
                self.aliases.setdefault(record.id, []).append(name)

    @cached_property
    def kept(self) -> dict[int, tuple[str, ...]]:
        """The reasons why each record survives, by record id; without a policy, only those that the manifest knows."""
        plan = self.view.plan() if self.view.policy is not None else None
        resumable = newest_resumable(self.view.records())
        return {r.id: tuple(self._reasons(r, plan, resumable)) for r in self._manifest.live()}

    @property
    def why_nothing_goes(self) -> str:
        """Why a training run deletes nothing now, whatever its rules and its budget say; empty if it does."""
        assert self.view.policy is not None
        records = [record for record in self.records if record.run == self.view.run_id]
        if not (unlogged := ranked_by_unlogged(self.view.policy, records)):
            return ""
        return f"{' and '.join(map(repr, unlogged))} was never logged; nothing is deleted until it is"

    def listed(self, everything: bool) -> tuple[list[Record], str]:
        """Return the records to list, and a string that says how many were left out.

        Args:
            everything: Whether to list all of them.
        """
        failed = [record for record in self.records if record.status is Status.FAILED]
        older = set() if everything else {record.id for record in failed[:-FAILURES]}
        deleted = {r.id for r in self.records if r.status is Status.DELETED and not everything}
        counts = ((len(deleted) + self._moved.deleted, "deleted"), (len(older) + self._moved.failed, "failed"))
        left_out = ", ".join(f"{n} {what}" for n, what in counts if n)
        return [record for record in self.records if record.id not in deleted | older], left_out

    def measured(self, record: Record) -> list[tuple[str, float]]:
        """Return the value of the metric that the policy ranks by; all values if it was not measured, or not known."""
        return measured(self.view.policy, record)

    def costs(self) -> Costs:
        """Return what the saves of the newest run cost. Superseded records do not count."""
        found = Costs()
        for record in self.records:
            if record.run != self.view.run_id or record.superseded or record.status is Status.WRITING:
                continue
            blocked = record.timings.get("blocked")
            if record.status is Status.FAILED:
                found = found.with_dropped(blocked)
            else:
                found = found.with_saved(record.time, blocked)
        return found

    def find(self, which: str, *, alone: bool = False, may_be_missing: bool = False) -> Record:
        """Return the record with this id, alias, file, link or tag, or else with this step.

        Args:
            which: The name of a checkpoint.
            alone: Whether to refuse a name that could also mean another checkpoint that has a file.
            may_be_missing: Whether an alias means the checkpoint that has it, even if the file of that one is missing.
                Otherwise, it means the next one.

        Raises:
            StoreError: There is no such record, or ``alone`` is true and there are several.
        """
        if which in ALIASES:
            return self._find_alias(which, may_be_missing=may_be_missing)
        path = Path(which)
        # The link must be beside the checkpoints: a link of another run may lead to a file of the same name.
        beside = self._dirpath / path.name if path.parent in (Path(), self._dirpath) else path
        is_here = beside.parent.resolve() == self._dirpath.resolve()
        files = {path.name, target_of(beside)} if is_here else {None}
        records = [*self._named_in_history(which), *self.records]
        named = [r for r in records if r.file in files or r.path.resolve() == path.resolve()]
        ids = [r for r in records if which == str(r.id)]
        # A tag that is also the name of another checkpoint's file must not make `ckpt rm` delete the wrong one.
        others = [r for r in records if is_meant(r, which)]
        matching = named or ids or others
        if not matching and which.isdecimal():
            matching = [r for r in self._manifest.history.search("step", [int(which)]) if is_meant(r, which)]
        if not matching:
            raise StoreError(
                f"{self._dirpath}: has no checkpoint {which!r}; expected an id, a step, a file, a tag, or one of "
                f"{', '.join(ALIASES)}; `ckpt ls {self._dirpath} --all` lists them"
            )
        meant = {r.id: r.file for r in named or ids + others if r.status.on_disk}
        if alone and len(meant) > 1:
            raise StoreError(
                f"{self._dirpath}: {which!r} could mean {' or '.join(meant.values())}; expected the name of a file"
            )
        # A deleted checkpoint's name may have been used again.
        return max(matching, key=lambda r: (r.status.on_disk, r.id))

    def _find_alias(self, name: str, *, may_be_missing: bool) -> Record:
        found = next((record for record in self.records if name in self.aliases.get(record.id, ())), None)
        meant = self._meant[name]
        if meant is not None and meant.id in self.missing:
            if may_be_missing:
                return meant
            if found is None:
                raise StoreError(f"{meant.path}: missing, and no other checkpoint is {name}")
            say(f"Warning: {meant.path}: missing; {name} is {found.file} instead", err=True)
        if found is None:
            if spoiled := self._spoiled(name):
                raise StoreError(f"{self._dirpath}: has no {name!r} checkpoint: {spoiled}")
            why = f": {self.view.why_no_best()}" if name == "best" else ""
            raise StoreError(f"{self._dirpath}: has no {name!r} checkpoint yet{why}")
        return found

    def _spoiled(self, name: str) -> str:
        """Return in a few words which checkpoint would have an alias if it were not damaged; empty if none would."""
        best = self.view.policy.best_metric if self.view.policy is not None else None
        records = [record for record in self.view.failed() if record.is_spoiled]
        found = alias_targets(records, best)[name]
        if found is None:
            return ""
        urls = recorded_urls(self._manifest.attempts)
        way = f"pull {urls[0]} {self._dirpath}` downloads it again" if urls else f"verify {self._dirpath}` says how"
        return f"{found.file} is {condition(found)}; `ckpt {way}"

    def _named_in_history(self, which: str) -> list[Record]:
        """Return the records of the history with this id or file, unless the manifest has one."""
        name = Path(which).name
        if any(which == str(record.id) or name == record.file for record in self.records):
            return []
        fact, value = ("id", int(which)) if which.isdecimal() else ("file", name)
        return self._manifest.history.search(fact, [value])

    def _reasons(self, record: Record, plan: Plan | None, resumable: Record | None) -> list[str] | tuple[str, ...]:
        if record.run != self.view.run_id:
            return ["of an earlier run"]
        if record.id in self.missing:
            return ["its file is missing"]
        if record.status is Status.COMMITTED:
            return ["not verified yet"]
        if plan is not None:
            return plan.reasons.get(record.id, (self._why_not_deleted(),))
        names = self.aliases.get(record.id, [])
        return ["pinned"] * record.pinned + names + ["newest resumable"] * (record == resumable)

    def _why_not_deleted(self) -> str:
        """Return why a checkpoint that no rule keeps is still there."""
        return self.why_nothing_goes or "nothing; the next save deletes it"


def is_meant(record: Record, which: str) -> bool:
    """Return whether a record has this tag or this step."""
    return which in record.tags or (record.known("step") is not None and which == str(record.step))


def measured(policy: Policy | None, record: Record) -> list[tuple[str, float]]:
    """Return the value of the metric that a policy ranks by; all values if it was not measured, or is not known."""
    metric = policy.best_metric if policy is not None else None
    score = metric.score(record) if metric is not None else None
    if metric is not None and score is not None:
        return [(metric.series, score)]
    return [*record.scores.items(), *record.metrics.items()]
