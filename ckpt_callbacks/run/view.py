"""The checkpoints of one run, as its manifest and its policy describe them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import VerifyError
from ..policy.budget import Fitted, fit, removal_order
from ..policy.named_only import is_named_elsewhere
from ..policy.plan import Plan, plan
from ..policy.policy import Policy
from ..policy.ranking import alias_targets, best_record, final_record, last_record
from ..policy.state import State
from ..policy.unranked import why_unranked
from ..record import Record, Status, attempt_framework
from ..store.aliases import read_alias
from ..store.manifest import Manifest
from ..store.replacement import verify_now

log = logging.getLogger("ckpt_callbacks")


def missing_ids(manifest: Manifest) -> set[int]:
    """Return the ids of the records whose file is missing; not those that a training run is deleting now."""
    gone = {record.id for record in manifest.live() if not os.path.exists(record.path)}
    if gone:
        manifest.refresh()  # the journal records a deletion before the file goes
    return {id_ for id_ in gone if manifest.counts(id_) and not os.path.exists(manifest.records[id_].path)}


class RunView:
    """The checkpoints of one run, seen through a policy. Reads only, and needs no lock.

    Args:
        manifest: The run directory's manifest; the directory need not exist.
        policy: Says what is best, and what is kept. None if only the manifest is available; ``best`` is then the
            checkpoint that the link on the disk points to.
        max_total_size: Bytes that the run's checkpoints may take together; None for no limit.

    Attributes:
        manifest: As given.
        policy: As given.
        max_total_size: As given.
        current: Identifies the run that is training here; empty before training begins.
        damaged: The errors of checkpoints that failed verification, by record id.
        missing: The ids of records that do not count, because their file was missing when it was looked for.
    """

    def __init__(self, manifest: Manifest, policy: Policy | None, max_total_size: int | None = None) -> None:
        self.manifest, self.policy, self.max_total_size = manifest, policy, max_total_size
        self.current = ""
        self.damaged: dict[int, VerifyError] = {}
        self.missing: set[int] = set()

    def refresh(self) -> None:
        """Read the manifest again."""
        self.manifest.refresh()

    def report_problems(self) -> None:
        """Log, once, each line of the manifest that could not be used."""
        for problem in self.manifest.problems:
            log.warning("%s", problem)
        self.manifest.problems.clear()

    @property
    def run_id(self) -> str:
        """The run that is training here, otherwise the newest one in the manifest."""
        return self.current or self.manifest.newest_run

    def records(self) -> list[Record]:
        """Return the run's verified records whose files exist, oldest first."""
        left_out = {*self.damaged, *self.missing}
        return [r for r in self.manifest.verified(self.run_id) if r.id not in left_out]

    def existing(self, choose: Callable[[], Record | None]) -> Record | None:
        """Return what ``choose`` returns once every record counts whose file is there, and none that is missing.

        A warning names each record whose file is missing, once.
        """
        self._forget_returned()
        while (record := choose()) is not None and self._is_missing(record):
            pass
        return record

    def existing_records(self) -> list[Record]:
        """Return `records` without those whose file is missing. A warning names each of these, once."""
        self._forget_returned()
        return [record for record in self.records() if not self._is_missing(record)]

    def _forget_returned(self) -> None:
        known = self.manifest.records
        self.missing -= {id_ for id_ in self.missing if id_ not in known or os.path.exists(known[id_].path)}

    def _is_missing(self, record: Record) -> bool:
        if os.path.exists(record.path):
            return False
        self.manifest.refresh()  # a training run records a deletion before the file goes
        if self._has_new_name(record):
            return True
        if self.manifest.counts(record.id) and record.id not in self.missing:
            self.missing.add(record.id)
            log.warning("%s: missing, so another checkpoint takes its place, if there is one", record.path)
        return True

    def _has_new_name(self, record: Record) -> bool:
        """Return whether a checkpoint was compressed since its record was read."""
        now = self.manifest.records.get(record.id)
        return now is not None and now.file != record.file and os.path.exists(now.path)

    def last(self) -> Record | None:
        """Return the newest checkpoint of the run, or None."""
        return last_record(self.records())

    def best(self) -> Record | None:
        """Return the best checkpoint of the run, or None if no finite value has been measured yet."""
        if self.policy is not None:
            return best_record(self.records(), self.policy.best_metric)
        files = {record.file: record for record in self.records()}
        linked = read_alias(self.manifest.layout.dirpath, "best", files.keys())
        return files.get(linked) if linked is not None else None

    def why_no_best(self, state: State | None = None) -> str:
        """Return why there is no best checkpoint, and what to do.

        Args:
            state: The engine's state, which knows more than the records do. None if nothing trains here.
        """
        if self.policy is None:
            return "it is not known by what to rank, because the manifest does not hold the policy"
        if (metric := self.policy.best_metric) is None:
            if not self.has_aliases:
                by_keras = any(attempt_framework(one) == "keras" for one in self.manifest.attempts[-1:])
                what = "are files of Keras, which hold no metrics" if by_keras else "say no metric"
                return (
                    f"its checkpoints {what} to rank them by; to name one of them, run `ckpt tag "
                    f"{self.manifest.layout.dirpath} ID NAME`"
                )
            return (
                "the policy has no rule with a metric; add one, such as KeepBest(1, by=Metric('val_loss', mode='min'))"
            )
        why = why_unranked(metric, self.policy, state or State(), self.records(), self.failed())
        return f"no checkpoint can be ranked by {metric.series}{why and f': {why}'}"

    def failed(self) -> list[Record]:
        """Return the records of the run's saves that have failed, and of checkpoints that were found damaged.

        Only the manifest is read, which forgets old ones.
        """
        known, run = list(self.manifest.records.values()), self.run_id
        return [record for record in known if record.status is Status.FAILED and record.run == run]

    def final(self) -> Record | None:
        """Return the checkpoint of the state in which the last `fit` ended, or None."""
        return final_record(self.records())

    @property
    def names_are_given(self) -> bool:
        """Whether other code decides when to save, and names each file; see `Policy`."""
        return self.policy is not None and self.policy.names_are_given

    @property
    def has_aliases(self) -> bool:
        """Whether links show which checkpoints are the last and the best. Code that names files needs none."""
        return not is_named_elsewhere(self.manifest.attempts)

    def aliases(self) -> dict[str, Record | None]:
        """Return the record of each alias."""
        metric = self.policy.best_metric if self.policy is not None else None
        found = alias_targets(self.records(), metric)
        return found if self.policy is not None else found | {"best": self.best()}

    def plan(self) -> Plan:
        """Return which checkpoints survive now, and why. Needs a policy."""
        return self.fitted().plan

    def fitted(self, incoming: int = 0) -> Fitted:
        """Return which checkpoints survive now, and by how many bytes they exceed the budget. Needs a policy.

        Args:
            incoming: Bytes of a checkpoint that is about to be written.
        """
        assert self.policy is not None
        found = self.by_rules()
        if self.max_total_size is None:
            return Fitted(found)
        keep, best, needed = self.policy.keep, self.policy.best_metric, self._continued()
        return fit(found, keep, self.max_total_size, best=best, incoming=incoming, needed=needed)

    def removal_order(self, records: Sequence[Record]) -> list[Record]:
        """Return those of the kept records that may go to make room, in the order in which they go. Needs a policy."""
        assert self.policy is not None
        return removal_order(self.policy.keep, records, self.policy.best_metric, self._continued())

    @property
    def has_budget(self) -> bool:
        """Whether the room that the run's checkpoints take is limited."""
        return self.max_total_size is not None

    def by_rules(self) -> Plan:
        """Return which checkpoints the retention rules keep, whatever room they take. Needs a policy."""
        assert self.policy is not None
        return plan(self.policy.keep, self.records(), best=self.policy.best_metric)

    def _continued(self) -> set[int]:
        """Return the id of the record from which the newest start continued, until that start has a checkpoint."""
        newest = self.manifest.attempts[-1] if self.manifest.attempts else None
        if newest is None or newest.parent is None or newest.run != self.run_id:
            return set()
        has_saved = any(record.attempt == newest.number for record in self.records())
        return set() if has_saved else {newest.parent}

    def resumable(self) -> list[Record]:
        """Return the records that a run can continue from, newest first, without reading their files."""
        self.manifest.refresh()
        self.report_problems()
        self._forget_returned()
        live = (record for record in reversed(self.manifest.live()) if record.id not in self.missing)
        return [record for record in live if record.resumable and not record.superseded]

    def would_resume_from(self, record: Record) -> bool:
        """Return whether a run that starts now would continue from this record."""
        return record.id in [resumed.id for resumed in self.resumable()[:1]]

    def verified_resumable(self, suits: Callable[[Record], bool] = lambda record: True) -> Iterator[Record]:
        """Yield the records that a run can continue from, newest first, after reading every byte of each file.

        A checkpoint that fails verification is skipped with a warning that says why.

        Args:
            suits: Returns True for each record that is a candidate.
        """
        found = [record for record in self.resumable() if suits(record)]
        self._name_those_not_finite(found, suits)
        yield from self.verified(found)

    def verified(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records whose files pass verification; a warning says why one does not."""
        for record in records:
            begun = time.perf_counter()
            try:
                verify_now(self.manifest, record)
            except VerifyError as error:
                log.warning("skipping this checkpoint and trying an older one: %s", error)
                self.damaged[record.id] = error
                continue
            self.damaged.pop(record.id, None)  # it could not be read earlier
            now = self.manifest.records.get(record.id, record)
            if record.resumable and not now.resumable:
                continue  # somebody has reduced it to its weights while it was read
            record = now if now.file != record.file else record
            log.info("%s: verified in %.2f s", record.path, time.perf_counter() - begun)
            yield record

    def _name_those_not_finite(self, found: Sequence[Record], suits: Callable[[Record], bool]) -> None:
        """Log which checkpoints, newer than the found ones, are skipped."""
        newest = found[0].id if found else 0
        live = [r for r in self.manifest.live() if r.id > newest and suits(r) and r.contents == "full"]
        if passed := [record.file for record in live if not (record.finite or record.superseded)]:
            log.warning(
                "%s: skipped %s: NaN or infinity in the weights, or in the metrics that ended the run; %s; to continue "
                "from it anyway, pass its path", self.manifest.layout.dirpath,
                passed[-1] if len(passed) == 1 else f"{len(passed)} checkpoints, the newest of them {passed[-1]}",
                f"the newest good one is {found[0].file}" if found else "there is no other checkpoint to resume from",
            )  # fmt: skip

    def was_searched(self, path: str | Path) -> bool:
        """Return whether it is known that the weights of the checkpoint at ``path`` hold neither NaN nor infinity."""
        record = self.find(path)
        # Only a save sets the identity, after that search; a record that was restored from its file has none.
        return record is not None and record.finite and bool(record.identity)

    def find(self, path: str | Path) -> Record | None:
        """Return the live record of the checkpoint at ``path``, if it belongs to this directory."""
        wanted = Path(path).resolve()
        return next((r for r in self.manifest.live() if r.path.resolve() == wanted), None)
