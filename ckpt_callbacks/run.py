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

from .checkpointer import SameContent, Write
from .clock import Clock
from .errors import PolicyError, ResumeError, StoreError
from .events import Event, EventKind
from .facts import environment, plain
from .holding import Holding
from .policy.engine import Decision, cannot_wait, decide
from .policy.horizon import horizon
from .policy.naming import FileName
from .policy.policy import Policy
from .policy.retention import last_record
from .policy.state import State
from .quiet import Quiet
from .requests import Requests
from .saver import Identity, Saver, Saving
from .scheduler import job_end
from .store.manifest import Attempt
from .worker import InlineWorker, Worker

log = logging.getLogger("ckpt_callbacks")
SNAPSHOT_VERSION = 1
_CONTENTS, _ON_ERROR = ("full", "weights"), ("warn", "raise")
_SAFE_POINTS = (EventKind.STEP_END, EventKind.VALIDATION_END, EventKind.EPOCH_END)


class Run(Holding):
    """One training in one run directory.

    Args:
        dirpath: The run directory; created when it is missing. policy: the policy.
        suffix: File suffix of the checkpoints, such as ``.ckpt``. holder: what error messages call the caller.
        filename: Template of the names; see `FileName`. contents: ``full`` or ``weights``.
        metadata: Plain facts for every record. on_error: ``warn``, or ``raise`` when a save fails.
        grace: Seconds from a signal to the end of the process. min_free: bytes to leave free on the disk.
        described: The policy as plain values, for the manifest, so that `ckpt ls` can say what is kept and why.
        clock, worker: For tests and for other ways to work.
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
        described: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        worker: Worker | None = None,
    ) -> None:
        if not isinstance(policy, Policy):
            raise PolicyError(f"{holder}: policy is {policy!r}; expected a Policy, or the path of a YAML file")
        for field, value, known in (("contents", contents, _CONTENTS), ("on_error", on_error, _ON_ERROR)):
            if value not in known:
                raise PolicyError(f"{holder}: {field} is {value!r}; expected one of {', '.join(known)}")
        if not str(dirpath):
            raise PolicyError(f"{holder}: dirpath is empty; expected a run directory, such as 'runs/a'")
        self._worker = worker or InlineWorker()
        super().__init__(Path(dirpath).absolute(), policy, self._worker, holder, min_free)
        self.suffix, self.contents = suffix, contents
        self.metadata: dict[str, Any] = plain(dict(metadata or {}))
        self.state = State()
        self._filename = FileName(filename, tuple(self.metadata), tuple(policy.monitored)) if filename else FileName()
        self._on_error, self._described = on_error, described
        self._clock = clock or Clock()
        self._saver = Saver(
            self, self._checkpointer,
            filename=self._filename, suffix=suffix, contents=contents, metadata=self.metadata,
        )  # fmt: skip
        self.quiet = Quiet(self._clock)
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
        self.release()

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue from the state that a checkpoint carries (see `snapshot`).

        Raises:
            ResumeError: the snapshot was written by a newer version.
        """
        version = snapshot.get("version")
        if not isinstance(version, int) or version > SNAPSHOT_VERSION:
            raise ResumeError(
                f"{self.dirpath}: the checkpoint's version is {version!r}; expected at most {SNAPSHOT_VERSION}; "
                "install a newer ckpt-callbacks"
            )
        state = State.from_json(snapshot["state"])
        # The checkpoint exists, so the save that made it succeeded; of any other that was under way, nothing is known.
        for save_id in tuple(state.pending):
            outcome = Event.saved(save_id) if save_id == snapshot["save"] else Event.dropped(save_id, "interrupted")
            state, _ = decide(self.policy, state, outcome)
        self.state = state
        self.manifest.refresh()
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
        last = None if under_way else self.last()
        return {
            "version": SNAPSHOT_VERSION,
            "state": self.state.to_json(),
            "run": self._run_id,
            "attempt": self._saver.identity.attempt,
            "record": under_way.id if under_way else last.id if last else None,
            "save": max(self.state.pending, default=None) if under_way else None,
        }

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
        write: Write | None = None,
        same: SameContent | None = None,
        unchanged: bool = False,
        metadata: Callable[[], Mapping[str, Any]] = dict,
    ) -> Decision:
        """Tell what happened; have the engine decide, and carry the decision out.

        Args:
            kind, step, epoch, metrics, complete: As in `Event`.
            write: Writes the checkpoint when one is due. same: see `Request`.
            unchanged: The weights are still those of the event before, so that its metrics are theirs too.
            metadata: Facts for the record; called only when a save is due.

        Raises:
            MetricError: a monitored metric was never logged. CommitError: a save failed, with ``on_error="raise"``.
        """
        self.quiet.wake()
        saving = Saving(write, same, metadata)
        measured = self._measured if unchanged else None
        decision = self._handle(kind, step, epoch, metrics or {}, complete, saving, measured)
        if write is not None and kind in _SAFE_POINTS:
            self._answer(step, epoch, saving, self._measured)
        return decision

    def answer(self, *, step: int, epoch: int, write: Write, metadata: Callable[[], Mapping[str, Any]] = dict) -> None:
        """Save at once if something asks for it that cannot wait: a signal, a wish, or a deadline.

        For moments that are no event of their own: before a validation, and within one. Arguments as in `observe`.
        """
        self.quiet.wake()
        saving = Saving(write, None, metadata)
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
        """Find out whether a signal asks the training to end, or somebody for a save.

        Where several processes train, all of them call this at the same finished steps: what one was told, all know.
        """
        self._requests.listen(self.peers)

    @property
    def interrupted(self) -> bool:
        """A signal asks the training to end: the next event of a finished step saves, and ends the process."""
        return self._requests.end(self.peers)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _answer(self, step: int, epoch: int, saving: Saving, measured: Event | None) -> None:
        if self.peers.alone:
            self.listen()
        if self._requests.save:
            self._handle(EventKind.DEMAND, step, epoch, {}, False, saving, measured)
            self._requests.fulfilled(self.peers)
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
        if decision.save is not None and saving.write is not None:
            error = self._saver.carry_out(decision.save, event, saving, measured or event, self.state)
            outcome = Event.dropped(decision.save.id, str(error)) if error else Event.saved(decision.save.id)
            self.state, _ = decide(self.policy, self.state, outcome)
            if error is not None and self._on_error == "raise":
                raise error
        return decision

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
        unknown = [n for n in self._filename.measured if n not in self.state.seen and n not in self.metadata]
        if unknown:
            logged = ", ".join(sorted(self.state.seen)) or "none at all"
            log.warning("filename: {%s} was never logged; logged were: %s", "}, {".join(unknown), logged)
