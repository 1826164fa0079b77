"""What is known about a run's checkpoints from its manifest, its aliases and, where it is given, its policy."""

from __future__ import annotations

from pathlib import Path

from ..errors import StoreError
from ..policy.costs import Costs
from ..policy.policy import Policy
from ..policy.ranking import alias_targets, newest_resumable
from ..policy.retention import plan
from ..record import ALIASES, Record, Status
from ..store.aliases import read_alias
from ..store.manifest import Manifest

_FAILURES = 3  # so many failed saves are news


class View:
    """The newest run of a directory, as `Run` would see it, and what lies beside it.

    Attributes:
        aliases: Names by record id. kept: why a record survives, by id; without a policy only what the manifest tells.
    """

    def __init__(self, manifest: Manifest, policy: Policy | None = None) -> None:
        self.dirpath = manifest.layout.dirpath
        self.records = [manifest.records[id_] for id_ in sorted(manifest.records)]
        live = manifest.live()
        self._run = run = manifest.newest_run
        ours = manifest.verified(run)
        files = {record.file: record for record in ours}
        # The manifest does not know which metric `best` goes by; the alias on disk does.
        linked = read_alias(self.dirpath, "best", files.keys())
        targets = alias_targets(ours, policy.best_metric if policy else None)
        if policy is None:
            targets["best"] = files.get(linked)
        self.aliases: dict[int, list[str]] = {}
        for name, record in targets.items():
            if record is not None:
                self.aliases.setdefault(record.id, []).append(name)
        resumable = newest_resumable(ours)
        found = plan(policy.keep, ours, best=policy.best_metric) if policy else None
        self.kept: dict[int, tuple[str, ...]] = {}
        for record in live:
            if record.run != run:
                why = ["of an earlier run"]
            elif record.status is Status.COMMITTED:
                why = ["not verified yet"]
            elif found is not None:
                why = found.reasons.get(record.id, ("nothing; the next save deletes it",))
            else:
                why = ["pinned"] * record.pinned + self.aliases.get(record.id, [])
                why += ["newest resumable"] * (record == resumable)
            self.kept[record.id] = tuple(why)

    def listed(self, everything: bool) -> tuple[list[Record], str]:
        """The records to list, and what was left out of them, in words."""
        failed = [record for record in self.records if record.status is Status.FAILED]
        older = set() if everything else {record.id for record in failed[:-_FAILURES]}
        deleted = {r.id for r in self.records if r.status is Status.DELETED and not everything}
        counts = ((len(deleted), "deleted"), (len(older), "failed"))
        left_out = ", ".join(f"{n} {what}" for n, what in counts if n)
        return [record for record in self.records if record.id not in deleted | older], left_out

    def costs(self) -> Costs:
        """What the saves of the newest run cost, as its records tell; of what was gone back behind, nothing counts."""
        found = Costs()
        for record in self.records:
            if record.run != self._run or record.superseded or record.status is Status.WRITING:
                continue
            blocked = record.timings.get("blocked")
            if record.status is Status.FAILED:
                found = found.with_dropped(blocked)
            else:
                found = found.with_saved(record.time, blocked)
        return found

    def find(self, which: str) -> Record:
        """The record with this id, alias, file or tag.

        Raises:
            StoreError: there is none.
        """
        if which in ALIASES:
            found = [record for record in self.records if which in self.aliases.get(record.id, ())]
            if not found:
                raise StoreError(f"{self.dirpath}: has no {which!r} checkpoint yet")
            return found[0]
        path = Path(which).resolve()
        matching = [r for r in self.records if which in (str(r.id), r.file, *r.tags) or r.path.resolve() == path]
        if not matching:
            raise StoreError(
                f"{self.dirpath}: has no checkpoint {which!r}; expected an id, a file, a tag, or one of "
                f"{', '.join(ALIASES)}; `ckpt ls {self.dirpath} --all` lists them"
            )
        # A deleted checkpoint's name may have been used again.
        return max(matching, key=lambda r: (str(r.id) == which, r.status.on_disk, r.id))
