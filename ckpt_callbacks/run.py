"""One training in one run directory: the loop between the engine, which decides, and the store, which keeps.

An adapter tells a `Run` what happens; the run asks the engine, has saves carried out, tells the engine how they went,
and gives the decision back. All that the two frameworks share is here or below.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .checkpointer import SameContent
from .clock import Clock
from .continuing import snapshot_of, state_from
from .errors import Busy, CkptError, PolicyError, StoreError
from .events import Event, EventKind
from .facts import environment, plain
from .holding import Holding
from .policy.engine import Decision, cannot_wait, decide
from .policy.horizon import horizon
from .policy.metric import check_count
from .policy.naming import FileName
from .policy.policy import Policy
from .policy.retention import last_record
from .policy.state import State
from .quiet import Quiet
from .record import Record
from .requests import Requests
from .saver import Identity, Saver, Saving
from .scheduler import job_end
from .snapshot import Snapshot
from .store.manifest import Attempt
from .worker import BackgroundWorker, InlineWorker, Worker

log = logging.getLogger("ckpt_callbacks")
_SAFE_POINTS = (EventKind.STEP_END, EventKind.VALIDATION_END, EventKind.EPOCH_END)


class Run(Holding):
    """One training in one run directory.

    Args:
        dirpath: The run directory; created when it is missing. policy: the policy.
        suffix: File suffix of the checkpoints, such as ``.ckpt``. holder: what error messages call the caller.
        filename: Template of the names; see `FileName`. contents: ``full`` or ``weights``.
        metadata: Plain facts for every record. on_error: ``warn``, or ``raise`` when a save fails.
        grace: Seconds from a signal to the end of the process. min_free: bytes to leave free on the disk.
        background: Write on a thread beside the training's. max_pending: snapshots that may wait to be written.
        when_busy: ``wait``, or ``skip`` the save when as many do; it stays due then.
        described: The policy as plain values, for the manifest, so that `ckpt ls` can say what is kept and why.
        clock: For tests.

    Attributes:
        on_saved: Called on the training's thread with each record that is durable and verified.
    """

    def __init__(
        self,
        dirpath: str | Path,
        policy: Policy,
        *,
        suffix: str,
        holder: str,
        filename: str | None = None,
        contents: str = "full",
        metadata: Mapping[str, Any] | None = None,
        on_error: str = "warn",
        grace: float = 30.0,
        min_free: int = 0,
        background: bool = True,
        max_pending: int = 1,
        when_busy: str = "wait",
        described: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(policy, Policy):
            raise PolicyError(f"{holder}: policy is {policy!r}; expected a Policy, or the path of a YAML file")
        for field, value, known in (
            ("contents", contents, ("full", "weights")),
            ("on_error", on_error, ("warn", "raise")),
            ("when_busy", when_busy, ("wait", "skip")),
        ):
            if value not in known:
                raise PolicyError(f"{holder}: {field} is {value!r}; expected one of {', '.join(known)}")
        check_count(holder, "max_pending", max_pending)
        if not str(dirpath):
            raise PolicyError(f"{holder}: dirpath is empty; expected a run directory, such as 'runs/a'")
        self._clock = clock or Clock()
        self._worker: Worker = BackgroundWorker() if background else InlineWorker()
        super().__init__(Path(dirpath).absolute(), policy, self._worker, self._clock, holder, min_free)
        self.suffix, self.contents = suffix, contents
        self.metadata: dict[str, Any] = plain(dict(metadata or {}))
        self.state = State()
        self._filename = FileName(filename, tuple(self.metadata), tuple(policy.monitored)) if filename else FileName()
        self._on_error, self._described = on_error, described
        self.quiet, self._is_busy = Quiet(self._clock), False
        self.on_saved: Callable[[Record], None] = lambda record: None
        self._saver = Saver(
            self, self._checkpointer, self._worker, clock=self._clock, filename=self._filename, suffix=suffix,
            contents=contents, metadata=self.metadata, max_pending=max_pending, skips=when_busy == "skip",
            wake=self.quiet.ring,
        )  # fmt: skip
        self._failure: CkptError | None = None  # the first one that nobody was told of
        self._demanded: set[int] = set()  # saves that somebody wished and that have not landed
        self._requests = Requests(self.manifest.layout.save_now, grace, self._clock, self.quiet.ring)
        self._parent, self._time_zero = None, 0.0
        self._deadline = job_end()
        self._measured: Event | None = None  # the last event of a finished step
        self._names_checked = False
        if contents == "weights":
            log.warning("%s: keeps weights alone; a run cannot be resumed from them", self.dirpath)

    @property
    def is_first_fit(self) -> bool:
        """This object has not trained yet."""
        return self._saver.identity.attempt == 0

    # -- the life of a training --------------------------------------------------------------------------------------

    def end_untrained(self) -> None:
        """A `fit` ends that had nothing left to train: what it was resumed from is how the run ended."""
        last = self.last()
        if self.peers.leader and last is not None and self.final() is None:
            self.manifest.change(last.id, final=True)
            self._checkpointer.restore_aliases(self._run_id)

    def close(self) -> None:
        """Finish what is under way and give the directory back. May be called more than once."""
        self._requests.close()
        self._worker.close()
        self._take_landed(together=False)
        self.release()

    def wait(self) -> None:
        """Return when every save that was asked for has come to its end."""
        self._worker.wait()
        self._take_landed()

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue from the state that a checkpoint carries (see `snapshot`).

        Raises:
            ResumeError: the snapshot was written by a newer version.
        """
        self.manifest.refresh()
        self.state = state_from(snapshot, self.policy, self.manifest, self.dirpath)
        if any(attempt.run == snapshot["run"] for attempt in self.manifest.attempts):
            self._run_id, self._parent = snapshot["run"], snapshot["record"]

    def start(self, *, step: int, epoch: int) -> Decision:
        """A `fit` begins: fresh, after `restore`, or as a further one of this object. Tells whether to stop at once."""
        if not self.is_first_fit:  # a further `fit` of this object goes on where the last one ended
            last = last_record(self.records())
            self._parent = last.id if last else self._parent
        self._run_id = self._run_id or self.peers.share(uuid.uuid4().hex[:12])
        same_run = [attempt.number for attempt in self.manifest.attempts if attempt.run == self._run_id]
        number = self.peers.share(max(same_run, default=0) + 1)
        self._saver.begin(Identity(self._run_id, number, self._parent))
        self._time_zero = self._clock.monotonic() - self.state.time
        if self._deadline is None and any(leaf.end is None for leaf in self.policy.deadlines):
            log.warning(
                "%s: OnDeadline knows no deadline: SLURM_JOB_END_TIME says none; expected OnDeadline(..., end=...)",
                self.dirpath,
            )
        if self.policy.saves_on_preempt:
            self._requests.expect_signals(self.peers)
        if self.peers.leader:
            facts = {"host": environment()["host"], "holder": self._holder, "policy": plain(self._described, 12)}
            try:
                self.manifest.start(Attempt(self._run_id, number, self._parent, self._clock.wall(), facts))
            except OSError as error:
                raise StoreError(f"{self.dirpath}: cannot be written: {error.strerror or error}") from error
        return self.observe(EventKind.START, step=step, epoch=epoch)

    def snapshot(self) -> dict[str, Any]:
        """What a checkpoint carries so that the run can be continued from it: plain JSON values."""
        under_way = self._saver.under_way
        newest = under_way or self.last()
        return snapshot_of(
            self.state, self._run_id, self._saver.identity.attempt,
            record=newest.id if newest else None, under_way=under_way is not None, records=self._saver.records,
        )  # fmt: skip

    def facts(self) -> dict[str, Any] | None:
        """The record of the save that is under way, to be written into the file: it outlives the manifest there."""
        return self._saver.under_way.to_json() if self._saver.under_way else None

    def observe(
        self,
        kind: EventKind,
        *,
        step: int,
        epoch: int,
        metrics: Mapping[str, float] | None = None,
        complete: bool = False,
        stage: Callable[[], Snapshot] | None = None,
        same: SameContent | None = None,
        unchanged: bool = False,
        metadata: Callable[[], Mapping[str, Any]] = dict,
    ) -> Decision:
        """Tell what happened; have the engine decide, and carry the decision out.

        Args:
            kind, step, epoch, metrics, complete: As in `Event`.
            stage: Takes a snapshot of the training when a save is due. same: see `Request`.
            unchanged: The weights are still those of the event before, so that its metrics are theirs too.
            metadata: Facts for the record; called only when a save is due.

        Raises:
            MetricError: a monitored metric was never logged.
            CommitError: a save failed, this one or an earlier one, with ``on_error="raise"``.
        """
        self.quiet.wake()
        saving = Saving(stage, same, metadata)
        if self.peers.alone:
            self._take_landed(may_raise=True)
        measured = self._measured if unchanged else None
        decision = self._handle(kind, step, epoch, metrics or {}, complete, saving, measured)
        if stage is not None and kind in _SAFE_POINTS:
            self._answer(step, epoch, saving, self._measured)
        return decision

    def answer(
        self, *, step: int, epoch: int, stage: Callable[[], Snapshot], metadata: Callable[[], Mapping[str, Any]] = dict
    ) -> None:
        """Save at once if something asks for it that cannot wait: a signal, a wish, or a deadline.

        For moments that are no event of their own: before a validation, and within one. Arguments as in `observe`.
        """
        self.quiet.wake()
        saving = Saving(stage, None, metadata)
        if self.peers.alone:
            self._take_landed(may_raise=True)
        # Only for a deadline: a signal and a wish are no reason to ask the other rules before the validation.
        if self.policy.deadlines and cannot_wait(
            self.policy, self.state, self._event(EventKind.STEP_END, step, epoch, {})
        ):
            self._handle(EventKind.STEP_END, step, epoch, {}, False, saving, None)
        self._answer(step, epoch, saving, None)

    def rest(self) -> None:
        """A step was observed; `quiet` tells from now on whether the next ones have to be.

        Processes that train together agree at each step, so that they never rest.
        """
        if self.peers.alone:
            ahead = horizon(self.policy, self.state, self._deadline)
            self.quiet.rest(ahead, self._time_zero, self._requests.next_look)

    def listen(self) -> None:
        """Find out whether a signal asks the training to end, or somebody for a save, and whether saves have landed.

        Where several processes train, all of them call this at the same finished steps: what one was told, all know.
        """
        if self._requests.listen(self.peers, len(self._saver.landed)) and not self.peers.alone:
            self._take_landed(may_raise=True)

    @property
    def interrupted(self) -> bool:
        """A signal asks the training to end: the next event of a finished step saves, and ends the process."""
        return self._requests.end(self.peers)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _answer(self, step: int, epoch: int, saving: Saving, measured: Event | None) -> None:
        if self.peers.alone:
            self.listen()
        if self._requests.save and not self._demanded:
            self._handle(EventKind.DEMAND, step, epoch, {}, False, saving, measured)
        if self.interrupted:
            self._handle(EventKind.PREEMPT, step, epoch, {}, False, saving, measured)
            self.release()
            self._requests.end_process()

    def _handle(
        self, kind: EventKind, step: int, epoch: int, metrics: Mapping[str, float], complete: bool,
        saving: Saving, measured: Event | None,
    ) -> Decision:  # fmt: skip
        event = self._event(kind, step, epoch, metrics, complete)
        self.state, decision = decide(self.policy, self.state, event)
        if kind in _SAFE_POINTS:
            self._measured = event
        if complete and not self._names_checked:
            self._check_names()
        if decision.save is not None and saving.stage is not None:
            if kind is EventKind.DEMAND:
                self._demanded.add(decision.save.id)
            self._saver.ask(decision.save, event, saving, measured or event, self.state)
            self._take_landed(may_raise=True)
        return decision

    def _take_landed(self, *, may_raise: bool = False, together: bool = True) -> None:
        """Tell the engine, and whoever waits for it, what became of saves. All processes do it ``together``."""
        for landed in self._saver.take(together=together):
            busy, self._is_busy = self._is_busy, isinstance(landed.error, Busy)
            if landed.error is None:
                outcome = Event.saved(landed.save, blocked=landed.blocked, seconds=landed.seconds)
            else:
                outcome = Event.dropped(landed.save, str(landed.error), blocked=landed.blocked, busy=self._is_busy)
                if not self._is_busy:
                    self._failure = self._failure or landed.error
            if self._is_busy and not busy:
                log.warning("skipped a save, which stays due: %s", landed.error)
            self.state, _ = decide(self.policy, self.state, outcome)
            if landed.save in self._demanded:
                self._demanded.discard(landed.save)
                self._requests.fulfilled(self.peers)
            if landed.record is not None:
                self.on_saved(landed.record)
        failure = self._failure
        if may_raise and failure is not None:
            self._failure = None
            if self._on_error == "raise":
                raise failure

    def _event(
        self, kind: EventKind, step: int, epoch: int, metrics: Mapping[str, float], complete: bool = False
    ) -> Event:
        time, wall = self._clock.monotonic() - self._time_zero, self._clock.wall()
        deadline = self._deadline
        if (metrics and self.policy.monitored.intersection(metrics)) or self.policy.follows_time:
            # what processes measure differs; what they do must not
            time, wall, deadline, metrics = self.peers.share((time, wall, deadline, metrics))
        return Event(kind, step, epoch, time, wall, metrics, complete, deadline=deadline)

    def _check_names(self) -> None:
        self._names_checked = True
        if unknown := self._filename.unknown({*self.state.seen, *self.metadata}):
            logged = ", ".join(sorted(self.state.seen)) or "none at all"
            log.warning("filename: {%s} was never logged; logged were: %s", "}, {".join(unknown), logged)
