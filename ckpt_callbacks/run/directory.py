"""A run directory that at most one training run at a time holds."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import PolicyError, StoreError, cause_of
from ..policy.policy import Policy
from ..record import Attempt, Record, attempt_framework
from ..recovery.interrupted import mark_damaged, recover
from ..recovery.rebuild import find_unlisted
from ..runtime.environment import environment
from ..runtime.processes import Processes, is_primary_process
from ..runtime.worker import InlineWorker, Worker
from ..store.aliases import read_alias
from ..store.disk_space import FULL
from ..store.lock import TrainingLock
from ..store.manifest import Manifest
from ..store.obstruction import obstruction, resolved
from ..store.private_files import make_folder, require_own
from . import pruning
from .announcements import Announcements
from .compaction import Compaction
from .ended_fit import EndedFit
from .late_entries import LateEntries
from .leftovers import Leftovers
from .thinning import Thinning
from .total_size import TotalSize
from .view import RunView

log = logging.getLogger("ckpt_callbacks")


class RunDirectory:
    """A run directory: locked while a training run holds it, and repaired when it is taken.

    Args:
        dirpath: The run directory, which need not exist.
        policy: Says what is best, and what is kept.
        framework: Identifies who writes the files, such as ``"lightning"``.
        name: The caller's name in messages, such as ``"LightningCheckpoint"``.
        described: The policy as plain JSON, which the journal holds; None if it has no such form.
        max_total_size: Bytes that the run's checkpoints may take together; None for no limit.
        min_free: Bytes that must stay free on the disk.
        worker: Rewrites checkpoints of which only the weights are needed; by default, the thread that prunes.

    Attributes:
        view: Answers questions about the checkpoints.
        manifest: The view's manifest.
        described: As given.
        processes: The processes that train together.
        announcements: What the run says at its beginning and end.
        leftovers: Removes files, again at the next save if that fails.
        late: What the journal could not take yet; to be written before anything else is recorded.
        ended: The view of a completed fit, from its end to the next `fit`, if it had nothing left to train.
        is_open: True from `open` to `release`. Of several processes, only the primary one holds the lock meanwhile.
        keeps_all: True if nothing is deleted until the next start of training, whatever the retention rules say.
        thinning: Rewrites full checkpoints of which nothing needs more than the weights.
        awaits_rank: True while nothing is deleted, because a metric that ranks checkpoints may be misspelt.
    """

    def __init__(
        self,
        dirpath: Path,
        policy: Policy,
        framework: str,
        name: str,
        described: Mapping[str, Any] | None = None,
        max_total_size: int | None = None,
        min_free: int = 0,
        worker: Worker | None = None,
    ) -> None:
        self.dirpath, self._framework, self._name, self.described = dirpath, framework, name, described
        self.manifest = Manifest(resolved(dirpath))  # a link may be redirected during training
        self.view = RunView(self.manifest, policy, max_total_size)
        self.processes, self.is_open = Processes(), False
        self.keeps_all = self.awaits_rank = False
        self.ended: EndedFit | None = None
        layout = self.manifest.layout
        self._lock = TrainingLock(layout.training_lock, layout.owner, name, lambda: self.called)
        self.leftovers, self.announcements = Leftovers(layout.staging), Announcements(dirpath)
        self.thinning = Thinning(self.view, worker or InlineWorker(), min_free)
        self.late = LateEntries(self.manifest, self._record_start)
        self._compaction, self._total = Compaction(self.manifest), TotalSize(dirpath, self.view)
        self._refused: dict[str, str] = {}  # aliases that could not be moved, with the reason that was logged

    @property
    def called(self) -> str:
        """The caller's name with what it saves, which tells it from another one."""
        policy = self.view.policy
        return f"{self._name} (saves: {policy.save.describe()})" if policy is not None else self._name

    @property
    def staging(self) -> Path:
        """The folder for files that are not finished."""
        return self.manifest.layout.staging

    def open(self) -> None:
        """Take the directory: create it, lock it, read its manifest, and finish what was interrupted.

        Raises:
            DirectoryInUse: Another training run holds it.
            PolicyError: One of its checkpoints is larger than the budget.
            StoreError: The directory cannot be written, or holds a run of another framework.
        """
        self.announcements.resumed_from = self.ended = None
        if self.is_open or not self.processes.is_primary:
            self.is_open = True
            return
        layout = self.manifest.layout
        try:
            require_own(layout)
            make_folder(layout.private)
            self._lock.acquire()
        except OSError as error:
            problem = obstruction(self.dirpath) or f"cannot be written: {cause_of(error)}"
            wanted = "free some space, or choose another" if error.errno in FULL else "expected a"
            raise StoreError(f"{self.dirpath}: {problem}; {wanted} directory for checkpoints") from error
        self.is_open = True
        self._repair()
        self.late.reopen()
        try:
            self._total.check(self._name)
        except PolicyError:
            self.release()
            raise

    @property
    def shown(self) -> RunView:
        """The view that answers the script."""
        return self.ended or self.view

    def repair_if_idle(self) -> None:
        """Finish or undo what a killed training run left unfinished, unless another run holds the directory now.

        A caller that looks for a checkpoint to resume from then sees every checkpoint that exists.

        Raises:
            StoreError: The directory holds a run of another framework.
        """
        if self.is_open:
            return
        with contextlib.suppress(StoreError):  # if it cannot be read, the repair or the caller says so
            self.manifest.refresh()
        self._refuse_another_framework()
        if not is_primary_process() or not self._holds_anything():
            return
        try:
            require_own(self.manifest.layout)
            make_folder(self.manifest.layout.private)
            self._lock.acquire()
        except (OSError, StoreError):
            return  # the directory is read as it is
        try:
            self._repair()
        except (OSError, StoreError) as error:
            log.warning("%s", error)
        finally:
            self.manifest.say_gone()
            self._lock.release()

    def begin(self, parent: int | None, wall: float, facts: Mapping[str, Any]) -> Attempt:
        """Record a start of training in the journal. Collective.

        Args:
            parent: Id of the record that training continues from; None for a fresh start.
            wall: UTC seconds since 1970.
            facts: Plain JSON values to store with it, besides the policy.

        Raises:
            StoreError: The directory cannot be written, and not only because the disk is full.
        """
        share, self.keeps_all = self.processes.broadcast, False
        run = self.view.current = self.view.current or share(uuid.uuid4().hex[:12])
        known = (*self.manifest.attempts, *self.late.starts)
        number = share(max((a.number for a in known if a.run == run), default=0) + 1)
        who = {"host": environment()["host"], "framework": self._framework}
        if self.view.max_total_size is not None:
            who["max_total_size"] = self.view.max_total_size
        # Versions that do not know ``framework`` read ``holder``.
        attempt = Attempt(run, number, parent, wall, {**who, "holder": self._name, "policy": self.described, **facts})
        if self.processes.is_primary:
            self.late.add(attempt)
            try:
                self.late.write()
            except OSError as error:
                if error.errno not in FULL:
                    self.late.withdraw(attempt)
                    raise StoreError(f"{self.dirpath}: cannot be written: {cause_of(error)}") from error
                log.warning(
                    "%s: nothing can be saved: %s; training goes on, and saves begin once there is space",
                    self.dirpath, cause_of(error),
                )  # fmt: skip
        return attempt

    @property
    def knows_policy(self) -> bool:
        """True if the newest start in the journal had this policy."""
        attempts = self.manifest.attempts
        return bool(attempts) and attempts[-1].facts.get("policy") == self.described

    def move_aliases(self) -> None:
        """Point ``last``, ``best`` and ``final`` at their checkpoints. A failure is logged once."""
        failed = pruning.move_aliases(self.view)
        for name, why in failed.items():
            if self._refused.get(name) != why:
                log.warning("%s: cannot create the %r link: %s", self.dirpath, name, why)
        self._refused = failed

    def _follow_policy(self) -> None:
        """Move the aliases as this policy requires it, and log what becomes of ``best``."""
        known = {record.file for record in self.manifest.records.values()}
        before = read_alias(self.dirpath, "best", known)
        self.move_aliases()
        best = self.view.best()
        if before is not None and before != (best.file if best else None):
            log.warning(
                "%s: the policy has changed, so best is no longer %s, but %s", self.dirpath, before,
                best.file if best else f"none: {self.view.why_no_best()}",
            )  # fmt: skip

    def prune(self) -> None:
        """Move the aliases, and delete what no retention rule keeps."""
        self.move_aliases()
        if not (self.keeps_all or self.awaits_rank):
            self._prune()
            self._total.report(0)
            self.thinning.begin()
        self._compaction.begin()

    def make_room(self, draft: Record) -> None:
        """Delete what has to go so that a save, of which ``draft`` is the record, fits into the budget."""
        if self.keeps_all or self.awaits_rank:
            return
        incoming = self._total.expected(draft)
        self._prune(incoming)
        self._total.report(incoming)

    def _prune(self, incoming: int = 0) -> None:
        if self.view.has_budget and self.view.fitted(incoming).gone:
            self.thinning.wait()  # what is reduced may fit
        pruning.prune(self.view, self.leftovers, incoming)

    def release(self) -> None:
        """Release the directory; harmless if it is not held."""
        self.thinning.stop()
        if self.is_open:
            self.announcements.end_fit()
        if self.is_open and self.processes.is_primary:
            self.manifest.say_gone()
            self._lock.release()
        self.is_open = False

    def _record_start(self, attempt: Attempt) -> None:
        knew_policy = self.knows_policy
        self._bring_back(attempt.parent)
        self.manifest.start(attempt)
        if not knew_policy and self.view.records():
            self._follow_policy()

    def _bring_back(self, parent: int | None) -> None:
        """Bring the record from which training continues back to the journal, because the lineage needs it."""
        if parent is not None and parent not in self.manifest.records:
            record = self.manifest.recall(parent)
            if record is not None:
                self.manifest.put(record)

    def _holds_anything(self) -> bool:
        return os.path.isdir(self.manifest.layout.private) or next(find_unlisted(self.manifest), None) is not None

    def _repair(self) -> None:
        self.manifest.refresh()
        self.view.missing.clear()
        self._refuse_another_framework()
        for line in recover(self.manifest):
            log.warning("%s: %s", self.dirpath, line)
        # The next start would try again, but training may run for long.
        self.leftovers.adopt(record.path for record in pruning.find_failed_deletions(self.manifest))
        mark_damaged(self.manifest, self.view.damaged, self.view.best)
        if self.knows_policy:  # otherwise, they move when the journal holds the new policy, which `ckpt` reads
            self.move_aliases()  # as the last save should have, in case it was interrupted
        self._compaction.begin()

    def _refuse_another_framework(self) -> None:
        """Raise `StoreError` if another framework's callback has trained here, before anything is touched."""
        for attempt in self.manifest.attempts:
            found = attempt_framework(attempt)
            if found is not None and found != self._framework:
                raise StoreError(
                    f"{self.dirpath}: holds a run of {attempt.facts.get('holder', found)}, whose files "
                    f"{self._name} cannot resume from; expected an empty directory, or one of its own runs"
                )
