"""One training in one run directory: the loop between the engine, which decides, and the store, which keeps.

An adapter tells a `Run` what happens; the run asks the engine, has saves carried out, tells the engine how they went,
and gives the decision back. All that the two frameworks share is here or below.
"""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checkpointer import Checkpointer, Request, SameContent, Write
from .clock import Clock
from .errors import CkptError, PolicyError, ResumeError, StoreError
from .events import Event, EventKind
from .facts import environment, plain
from .history import History
from .interrupts import Interrupts
from .lineage import supersede
from .peers import Peers
from .policy.engine import Decision, Save, decide, scores_at
from .policy.naming import FileName
from .policy.policy import Policy
from .policy.retention import last_record
from .policy.state import State
from .record import Record
from .recovery import recover, write_off
from .store.lock import TrainingLock
from .store.manifest import Attempt
from .worker import InlineWorker, Worker

log = logging.getLogger("ckpt_callbacks")
SNAPSHOT_VERSION = 1
_CONTENTS, _ON_ERROR = ("full", "weights"), ("warn", "raise")
_SAFE_POINTS = (EventKind.STEP_END, EventKind.VALIDATION_END, EventKind.EPOCH_END)
_ASK_EVERY = 0.5  # seconds between two looks for somebody's wish to save


@dataclass(frozen=True)
class _Saving:
    """How the adapter saves, if a save is due; see `Run.observe`."""

    write: Write | None
    same: SameContent | None
    metadata: Callable[[], Mapping[str, Any]]


class Run(History):
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
        super().__init__(Path(dirpath).absolute(), policy)
        self.suffix, self.contents = suffix, contents
        self.metadata: dict[str, Any] = plain(dict(metadata or {}))
        self.state = State()
        self._filename = FileName(filename, tuple(self.metadata), tuple(policy.monitored)) if filename else FileName()
        self._holder, self._on_error, self._described = holder, on_error, described
        self._clock, self._worker = clock or Clock(), worker or InlineWorker()
        self._lock = TrainingLock(self._manifest.layout.training_lock, self._manifest.layout.owner, holder)
        self._checkpointer = Checkpointer(self._manifest, policy.keep, policy.best_metric, self._worker, min_free)
        self._interrupts = Interrupts(grace)
        self._asked_at = 0.0
        self.peers = Peers()
        self.is_open = False
        self._attempt, self._parent, self._time_zero = 0, None, 0.0
        self._branched = False
        self._save: Save | None = None
        self._measured: Event | None = None  # the last event of a finished step
        self._names_checked = False
        if contents == "weights":
            log.warning("%s: keeps weights alone; a run cannot be resumed from them", self.dirpath)

    @property
    def is_first_fit(self) -> bool:
        """This object has not trained yet."""
        return self._attempt == 0

    # -- the life of a training --------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the directory: create it, lock it, read its manifest.

        Raises:
            DirectoryInUse: somebody else trains here. StoreError: the directory cannot be written.
        """
        if self.is_open or not self.peers.leader:
            self.is_open = True
            return
        layout = self._manifest.layout
        try:
            layout.private.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise StoreError(
                f"{self.dirpath}: cannot be written: {error.strerror or error}; expected a directory for checkpoints"
            ) from error
        self.is_open = True
        self._manifest.refresh()
        for line in recover(self._manifest):
            log.warning("%s: %s", self.dirpath, line)
        write_off(self._manifest, self._damaged, self.best)
        self._checkpointer.restore_aliases(self.run_id)

    def end_untrained(self) -> None:
        """A `fit` ends that had nothing left to train: what it was resumed from is how the run ended."""
        last = self.last()
        if self.peers.leader and last is not None and self.final() is None:
            self._manifest.change(last.id, final=True)
            self._checkpointer.restore_aliases(self._run_id)

    def close(self) -> None:
        """Finish what is under way and give the directory back. May be called more than once."""
        self._interrupts.remove()
        self._interrupts.forget()
        self._worker.close()
        if self.is_open and self.peers.leader:
            self._lock.release()
        self.is_open = False

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
        self._manifest.refresh()
        if any(attempt.run == snapshot["run"] for attempt in self._manifest.attempts):
            self._run_id, self._parent = snapshot["run"], snapshot["record"]

    def start(self, *, step: int, epoch: int) -> Decision:
        """A `fit` begins: fresh, after `restore`, or as a further one of this object. Tells whether to stop at once."""
        if self._attempt:  # a further `fit` of this object goes on where the last one ended
            last = last_record(self.records())
            self._parent = last.id if last else self._parent
        self._run_id = self._run_id or self.peers.share(uuid.uuid4().hex[:12])
        same_run = [attempt.number for attempt in self._manifest.attempts if attempt.run == self._run_id]
        self._attempt = self.peers.share(max(same_run, default=0) + 1)
        self._time_zero = self._clock.monotonic() - self.state.time
        self._branched = False
        if self.policy.saves_on_preempt and self.peers.alone:
            self._interrupts.install()
        if self.peers.leader:
            facts = {"host": environment()["host"], "holder": self._holder, "policy": plain(self._described, 12)}
            try:
                self._manifest.start(Attempt(self._run_id, self._attempt, self._parent, self._clock.wall(), facts))
            except OSError as error:
                raise StoreError(f"{self.dirpath}: cannot be written: {error.strerror or error}") from error
        return self.observe(EventKind.START, step=step, epoch=epoch)

    def snapshot(self) -> dict[str, Any]:
        """What a checkpoint carries so that the run can be continued from it: plain JSON values."""
        last = None if self._save else self.last()
        return {
            "version": SNAPSHOT_VERSION,
            "state": self.state.to_json(),
            "run": self._run_id,
            "attempt": self._attempt,
            "record": self._checkpointer.next_id if self._save else last.id if last else None,
            "save": self._save.id if self._save else None,
        }

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
        saving = _Saving(write, same, metadata)
        measured = self._measured if unchanged else None
        decision = self._handle(kind, step, epoch, metrics or {}, complete, saving, measured)
        if kind in _SAFE_POINTS and write is not None:
            if self._is_asked():
                self._handle(EventKind.DEMAND, step, epoch, {}, False, saving, self._measured)
                with contextlib.suppress(OSError):
                    self._manifest.layout.save_now.unlink()
            if self.interrupted:
                self._handle(EventKind.PREEMPT, step, epoch, {}, False, saving, self._measured)
                self._lock.release()
                self._interrupts.end_process()
        return decision

    @property
    def interrupted(self) -> bool:
        """A signal asks the training to end: the next event of a finished step saves, and ends the process."""
        return self._interrupts.pending is not None

    # -- inside ------------------------------------------------------------------------------------------------------

    def _handle(
        self, kind: EventKind, step: int, epoch: int, metrics: Mapping[str, float], complete: bool,
        saving: _Saving, measured: Event | None,
    ) -> Decision:  # fmt: skip
        time = self._clock.monotonic() - self._time_zero
        if (metrics and self.policy.monitored.intersection(metrics)) or self.policy.follows_time:
            time, metrics = self.peers.share((time, metrics))  # what processes measure differs; what they do must not
        event = Event(kind, step, epoch, time, self._clock.wall(), metrics, complete)
        self.state, decision = decide(self.policy, self.state, event)
        if kind in _SAFE_POINTS:
            self._measured = event
        if complete and not self._names_checked:
            self._check_names()
        if decision.save is not None and saving.write is not None:
            error = self._carry_out(decision.save, event, saving, measured or event)
            if error is not None and self._on_error == "raise":
                raise error
        return decision

    def _check_names(self) -> None:
        self._names_checked = True
        unknown = [n for n in self._filename.measured if n not in self.state.seen and n not in self.metadata]
        if unknown:
            logged = ", ".join(sorted(self.state.seen)) or "none at all"
            log.warning("filename: {%s} was never logged; logged were: %s", "}, {".join(unknown), logged)

    def _is_asked(self) -> bool:
        # A look at the disk now and then, not at each step.
        now = self._clock.monotonic()
        if not self.peers.alone or now - self._asked_at < _ASK_EVERY:
            return False
        self._asked_at = now
        return os.path.exists(self._manifest.layout.save_now)  # Path.exists raises when the disk is broken

    def _carry_out(self, save: Save, event: Event, saving: _Saving, measured: Event) -> CkptError | None:
        self._save = save
        try:
            leads = self.peers.leader
            error = self._lead(save, event, saving, measured) if leads else self._follow(saving.write)
        finally:
            self._save = None
        outcome = Event.dropped(save.id, str(error)) if error else Event.saved(save.id)
        self.state, _ = decide(self.policy, self.state, outcome)
        return error

    def _lead(self, save: Save, event: Event, saving: _Saving, measured: Event) -> CkptError | None:
        def write_with_peers(path: Path) -> None:
            self.peers.share(path)
            saving.write(path)

        draft = self._draft(save, event, saving.metadata(), measured)
        last, outcomes = self.last(), []
        # Between two events of one step nothing but evaluation ran: the weights are on disk already.
        unchanged = last if event.kind is not EventKind.END and last and self._is_this_step(last, event) else None
        name = self._filename.render(draft)
        request = Request(draft, name, self.suffix, write_with_peers, saving.same, unchanged, self._supersede)
        self._checkpointer.save(request, outcomes.append)
        self.peers.share(None)
        outcome = outcomes[0]
        error = self.peers.share(outcome.error)
        if outcome.record is not None:
            verb = "saved" if outcome.record.reasons == save.reasons else "holds already"
            log.info("%s %s: %s", verb, outcome.record.file, "; ".join(save.reasons))
        else:
            log.warning("%s", error)
        return error

    def _follow(self, write: Write) -> CkptError | None:
        while (path := self.peers.share(None)) is not None:
            write(path)
        return self.peers.share(None)

    def _is_this_step(self, record: Record, event: Event) -> bool:
        return (record.step, record.attempt, record.contents) == (event.step, self._attempt, self.contents)

    def _draft(self, save: Save, event: Event, metadata: Mapping[str, Any], measured: Event) -> Record:
        return Record(
            id=0,
            file="",
            step=event.step,
            epoch=event.epoch,
            time=event.time,
            wall=event.wall,
            metrics={name: float(value) for name, value in measured.metrics.items()},
            scores=scores_at(self.policy, self.state, measured),
            contents=self.contents,
            resumable=self.contents == "full",
            run=self._run_id,
            attempt=self._attempt,
            parent=self._parent,
            exceptional=event.kind is EventKind.EXCEPTION,
            final=event.kind is EventKind.END,
            reasons=save.reasons,
            metadata={**plain(metadata), **self.metadata, "environment": environment()},
        )

    def _supersede(self) -> None:
        if not self._branched:
            self._branched = True
            supersede(self._manifest, self._run_id, self._attempt)
