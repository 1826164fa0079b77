"""A run directory that at most one training run at a time holds."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import PolicyError, ResumeError, StoreError, cause_of, first_line
from ..mirrors.mirrors import Mirrors
from ..mirrors.source import MirroredRun
from ..policy.lineage import origin
from ..policy.missing_metrics import ranks_nothing_yet
from ..policy.policy import Policy
from ..policy.state import State
from ..record import Attempt
from ..recovery.interrupted import mark_damaged, recover
from ..recovery.lineage import supersede
from ..recovery.rebuild import find_unlisted
from ..runtime.processes import Processes, is_primary_process
from ..runtime.worker import InlineWorker, Worker
from ..settings import Settings
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
from .links import Links
from .newest_intact import newest_intact
from .other_frameworks import refuse_another_framework
from .room import Room
from .start_facts import start_facts
from .thinning import Thinning
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
        settings: Says how much space the checkpoints may take, and where they are sent.
        worker: Rewrites checkpoints that hold more than is needed; by default, the thread that prunes.

    Attributes:
        view: Answers questions about the checkpoints.
        manifest: The view's manifest.
        described: As given.
        processes: The processes that train together.
        announcements: What the run says at its beginning and end.
        links: Keeps ``last``, ``best`` and ``final`` up to date.
        leftovers: Removes files, again at the next save if that fails.
        late: What the journal could not take yet; to be written before anything else is recorded.
        ended: The view of a completed fit, from its end to the next `fit`, if it had nothing left to train.
        is_open: True from `open` to `release`. Of several processes, only the primary one holds the lock meanwhile.
        keeps_all: True if nothing is deleted until the next start of training, whatever the retention rules say.
        thinning: Rewrites checkpoints that hold more than anything needs of them.
        room: Deletes and rewrites checkpoints, so that they take no more room than they may.
        mirrors: Sends checkpoints elsewhere, and brings them back.
        awaits_rank: True while nothing is deleted, because a metric that ranks checkpoints may be misspelt.
    """

    def __init__(
        self,
        dirpath: Path,
        policy: Policy,
        framework: str,
        name: str,
        described: Mapping[str, Any] | None = None,
        settings: Settings = Settings(),
        worker: Worker | None = None,
    ) -> None:
        self.dirpath, self._framework, self._name, self.described = dirpath, framework, name, described
        self.manifest = Manifest(resolved(dirpath))  # a link may be redirected during training
        self.view = RunView(self.manifest, policy, settings.max_total_size)
        self.processes, self.is_open, self._is_taken = Processes(), False, False
        self._begun: Attempt | None = None  # the start of training, until the directory is taken
        self.keeps_all = self.awaits_rank = False
        self.ended: EndedFit | None = None
        layout = self.manifest.layout
        self._lock = TrainingLock(layout.training_lock, layout.owner, name, lambda: self.called)
        self.leftovers, self.announcements = Leftovers(layout.staging), Announcements(dirpath)
        self.thinning = Thinning(self.view, worker or InlineWorker(), settings.min_free, self.may_delete)
        self.room = Room(dirpath, self.view, self.leftovers, self.thinning, self.may_delete)
        self.late = LateEntries(self.manifest, self._record_start)
        self._compaction = Compaction(self.manifest)
        self.links = Links(dirpath, self.view)
        source = MirroredRun(self.manifest, self.view.records, policy, framework, self.may_delete)
        self.mirrors = Mirrors(settings.mirrors, source, name, partial(newest_intact, self.view))

    @property
    def called(self) -> str:
        """The caller's name with what it saves, which tells it from another one."""
        policy = None if self.view.names_are_given else self.view.policy
        return f"{self._name} (saves: {policy.save.describe()})" if policy is not None else self._name

    @property
    def staging(self) -> Path:
        """The folder for files that are not finished."""
        return self.manifest.layout.staging

    def open(self) -> None:
        """`take` the directory, unless other code names the files: the first save then takes it."""
        self.announcements.resumed_from = self.ended = None
        if not self.view.names_are_given:
            self.take()
        self.is_open = True

    def take(self) -> None:
        """Create the directory, lock it, read its manifest, and finish what was interrupted, unless that is done.

        Raises:
            DirectoryInUse: Another training run holds it.
            PolicyError: One of its checkpoints is larger than the budget.
            StoreError: The directory cannot be written, or holds a run of another framework.
        """
        if self._is_taken or not self.processes.is_primary:
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
        self.is_open = self._is_taken = True
        self._repair()
        self.late.reopen(self._begun)
        try:
            self.room.check(self._name)
        except PolicyError:
            self.release()
            raise

    @property
    def shown(self) -> RunView:
        """The view that answers the script."""
        return self.ended or self.view

    def repair_if_idle(self, to_resume: bool = False) -> None:
        """Finish or undo what a killed training run left unfinished, unless another run holds the directory now.

        Args:
            to_resume: Whether to bring a checkpoint back from a mirror, if there is none here.

        Raises:
            ResumeError: No mirror can be read.
            StoreError: The directory holds a run of another framework.
        """
        if self.is_open:
            if to_resume:
                self.bring_back()
            return
        with contextlib.suppress(StoreError):  # if it cannot be read, the repair or the caller says so
            self.manifest.refresh()
        self._require_framework()
        to_resume = to_resume and bool(self.mirrors.urls)
        if to_resume and not is_primary_process():
            self.mirrors.await_back()
        holds_any = os.path.isdir(self.manifest.layout.private) or next(find_unlisted(self.manifest), None) is not None
        if not is_primary_process() or not (to_resume or holds_any):
            return
        try:
            require_own(self.manifest.layout)
            make_folder(self.manifest.layout.private)
            self._lock.acquire()
        except (OSError, StoreError):
            return  # the directory is read as it is
        try:
            self._repair()
            if to_resume:
                self.bring_back()
        except (OSError, StoreError) as error:
            log.warning("%s", error)
        finally:
            self.manifest.say_gone()
            self._lock.release()

    def bring_back(self) -> None:
        """Bring a checkpoint to resume from back from a mirror, and the best one, if there is none here.

        Raises:
            ResumeError: No mirror can be read, or they hold a run of another framework.
        """
        try:
            if self.processes.is_primary and self.mirrors.bring_back() is not None and self.knows_policy:
                self.links.move()
        except (OSError, StoreError) as error:
            raise ResumeError(f"{self.dirpath}: no checkpoint can be brought back: {first_line(error)}") from error

    def may_delete(self) -> bool:
        """Return whether the rules may delete checkpoints now."""
        return self.is_open and self.processes.is_primary and not (self.keeps_all or self.awaits_rank)

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
        who = start_facts(self.view, self._framework, self._name, self.described, self.mirrors.facts)
        who |= origin(self.manifest.records.get(parent or 0))
        attempt = Attempt(run, number, parent, wall, {**who, **facts})
        if not self._is_taken:
            self._begun = attempt
        else:
            self.late.start(attempt)
        return attempt

    @property
    def knows_policy(self) -> bool:
        """True if the newest start in the journal had this policy."""
        attempts = self.manifest.attempts
        return bool(attempts) and attempts[-1].facts.get("policy") == self.described

    def prune(self) -> None:
        """Move the aliases, and delete what no retention rule keeps."""
        self.links.move()
        self.room.after_save()
        self.mirrors.wake()
        self._compaction.begin()

    def finish_last_save(self, state: State) -> None:
        """Mark and delete what the last save should have, in case a kill came between.

        Args:
            state: What a `fit` has restored. If that is another checkpoint than the last one, all stay.
        """
        last, policy = self.view.last(), self.view.policy
        if self._is_taken and policy is not None and last is not None and last.step == state.step:
            self.awaits_rank = ranks_nothing_yet(policy, state)
            try:
                supersede(self.manifest, last.run, last.attempt)
                self.prune()
            except (OSError, StoreError) as error:
                log.warning("%s: cleaning up failed: %s", self.dirpath, first_line(error))

    def release(self) -> None:
        """Release the directory; harmless if it is not held."""
        self.thinning.stop()
        self.mirrors.stop()
        if self.is_open:
            self.announcements.end_fit()
        if self.is_open and self.processes.is_primary:
            self.manifest.say_gone()
            self._lock.release()
        self.is_open = self._is_taken = False
        self._begun = None

    def _record_start(self, attempt: Attempt) -> None:
        knew_policy, parent = self.knows_policy, attempt.parent  # the lineage needs the parent
        if parent is not None and parent not in self.manifest.records and (found := self.manifest.recall(parent)):
            self.manifest.put(found)
        self.manifest.start(attempt)
        if not knew_policy and self.view.records():
            self.links.follow_policy()

    def _repair(self) -> None:
        self.manifest.refresh()
        self.view.missing.clear()
        self._require_framework()
        for line in recover(self.manifest):
            log.warning("%s: %s", self.dirpath, line)
        # The next start would try again, but training may run for long.
        self.leftovers.adopt(record.path for record in pruning.find_failed_deletions(self.manifest))
        mark_damaged(self.manifest, self.view.damaged, self.view.best)
        if self.knows_policy:  # otherwise, they move when the journal holds the new policy, which `ckpt` reads
            self.links.move()  # as the last save should have, in case it was interrupted
        self._compaction.begin()

    def _require_framework(self) -> None:
        refuse_another_framework(self.dirpath, self.manifest.attempts, self._framework, self._name)
