"""One training in one run directory: the loop between the engine, which decides, and the store, which keeps.

An adapter tells a `Run` what happens; the run asks the engine, has saves carried out, tells the engine how they went,
and gives the decision back. All that the two frameworks share is here or below.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .checkpointer import Checkpointer, Request, SameContent, Write
from .clock import Clock
from .errors import CkptError, PolicyError, ResumeError, StoreError, VerifyError
from .events import Event, EventKind
from .facts import environment, plain
from .lineage import ancestors
from .policy.engine import Decision, Save, decide
from .policy.metric import best_record
from .policy.naming import FileName
from .policy.policy import Policy
from .policy.retention import Plan, final_record, last_record
from .policy.state import State
from .record import Record
from .recovery import recover
from .store.digest import verify
from .store.lock import TrainingLock
from .store.manifest import Attempt, Manifest
from .worker import InlineWorker, Worker

log = logging.getLogger("ckpt_callbacks")
SNAPSHOT_VERSION = 1
_CONTENTS, _ON_ERROR = ("full", "weights"), ("warn", "raise")
_T = TypeVar("_T")


class Peers:
    """The processes that train together. Here: one. An adapter for several overrides both.

    Attributes:
        leader: This process decides, writes to the journal and deletes.
    """

    leader = True

    def share(self, value: _T) -> _T:
        """The leader's ``value``, on every process. All of them call it in the same order."""
        return value


class Run:
    """One training in one run directory.

    Args:
        dirpath: The run directory; created when it is missing. policy: the policy.
        suffix: File suffix of the checkpoints, such as ``.ckpt``. holder: what error messages call the caller.
        filename: Template of the names; see `FileName`. contents: ``full`` or ``weights``.
        metadata: Plain facts for every record. on_error: ``warn``, or ``raise`` when a save fails.
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
        clock: Clock | None = None,
        worker: Worker | None = None,
    ) -> None:
        if not isinstance(policy, Policy):
            raise PolicyError(f"{holder}: policy is {policy!r}; expected a Policy, or the path of a YAML file")
        for field, value, known in (("contents", contents, _CONTENTS), ("on_error", on_error, _ON_ERROR)):
            if value not in known:
                raise PolicyError(f"{holder}: {field} is {value!r}; expected one of {', '.join(known)}")
        self.dirpath, self.policy, self.suffix, self.contents = Path(dirpath).absolute(), policy, suffix, contents
        self.metadata: dict[str, Any] = plain(dict(metadata or {}))
        self.state = State()
        self._filename = FileName(filename, tuple(self.metadata), tuple(policy.monitored)) if filename else FileName()
        self._holder, self._on_error = holder, on_error
        self._clock, self._worker = clock or Clock(), worker or InlineWorker()
        self._manifest = Manifest(self.dirpath)
        self._lock = TrainingLock(self._manifest.layout.training_lock, self._manifest.layout.owner, holder)
        self._checkpointer = Checkpointer(self._manifest, policy.keep, policy.best_metric, self._worker)
        self.peers = Peers()
        self.is_open = False
        self._run_id, self._attempt, self._parent, self._time_zero = "", 0, None, 0.0
        self._branched = False
        self._save: Save | None = None

    # -- what is there -----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read the manifest again."""
        self._manifest.refresh()

    @property
    def run_id(self) -> str:
        """The run that is going on, else the newest one that the directory knows."""
        return self._run_id or (self._manifest.attempts[-1].run if self._manifest.attempts else "")

    @property
    def is_first_fit(self) -> bool:
        """This object has not trained yet."""
        return self._attempt == 0

    def records(self) -> list[Record]:
        """This run's records that have a file, oldest first."""
        return self._checkpointer.survivors(self.run_id)

    def last(self) -> Record | None:
        """The newest checkpoint of the run, or None."""
        return last_record(self.records())

    def best(self) -> Record | None:
        """The best checkpoint of the run, or None before any finite value."""
        return best_record(self.records(), self.policy.best_metric)

    def final(self) -> Record | None:
        """The state when the last `fit` ended, or None."""
        return final_record(self.records())

    def plan(self) -> Plan:
        """What survives now, and why."""
        return self._checkpointer.plan(self.run_id)

    def resumable(self) -> Iterator[Record]:
        """Records that a run can continue from, newest first, each verified just before it is given out.

        What does not verify is skipped with a warning that says why.
        """
        self._manifest.refresh()
        for problem in self._manifest.problems:
            log.warning("%s", problem)
        self._manifest.problems.clear()
        for record in sorted(self._manifest.live(), key=lambda r: r.id, reverse=True):
            if not record.resumable or record.superseded:
                continue
            try:
                verify(record)
            except VerifyError as error:
                log.warning("skipped, and looking for an older one: %s", error)
                continue
            yield record

    def find(self, path: str | Path) -> Record | None:
        """The live record of the checkpoint at ``path``, if it is one of this directory."""
        wanted = Path(path).resolve()
        return next((r for r in self._manifest.live() if r.path.resolve() == wanted), None)

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

    def close(self) -> None:
        """Finish what is under way and give the directory back. May be called more than once."""
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
        if self.peers.leader:
            facts = {"host": environment()["host"], "holder": self._holder}
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
            "record": self._manifest.next_id if self._save else last.id if last else None,
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
        metadata: Callable[[], Mapping[str, Any]] = dict,
    ) -> Decision:
        """Tell what happened; have the engine decide, and carry the decision out.

        Args:
            kind, step, epoch, metrics, complete: As in `Event`.
            write: Writes the checkpoint when one is due. same: see `Request`.
            metadata: Facts for the record; called only when a save is due.

        Raises:
            MetricError: a monitored metric was never logged. CommitError: a save failed, with ``on_error="raise"``.
        """
        metrics = metrics or {}
        time = self._clock.monotonic() - self._time_zero
        if (metrics and self.policy.monitored.intersection(metrics)) or self.policy.follows_time:
            time, metrics = self.peers.share((time, metrics))  # what processes measure differs; what they do must not
        event = Event(kind, step, epoch, time, self._clock.wall(), metrics, complete)
        self.state, decision = decide(self.policy, self.state, event)
        if decision.save is not None and write is not None:
            error = self._carry_out(decision.save, event, write, same, metadata)
            if error is not None and self._on_error == "raise":
                raise error
        return decision

    # -- inside ------------------------------------------------------------------------------------------------------

    def _carry_out(
        self,
        save: Save,
        event: Event,
        write: Write,
        same: SameContent | None,
        metadata: Callable[[], Mapping[str, Any]],
    ) -> CkptError | None:
        self._save = save
        try:
            error = self._lead(save, event, write, same, metadata) if self.peers.leader else self._follow(write)
        finally:
            self._save = None
        outcome = Event.dropped(save.id, str(error)) if error else Event.saved(save.id)
        self.state, _ = decide(self.policy, self.state, outcome)
        return error

    def _lead(self, save, event, write, same, metadata) -> CkptError | None:
        def write_with_peers(path: Path) -> None:
            self.peers.share(path)
            write(path)

        draft = self._draft(save, event, metadata())
        last, outcomes = self.last(), []
        # Between two events of one step nothing but evaluation ran: the weights are on disk already.
        unchanged = last if event.kind is not EventKind.END and last and self._is_this_step(last, event) else None
        name = self._filename.render(draft)
        request = Request(draft, name, self.suffix, write_with_peers, same, unchanged, self._supersede)
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

    def _draft(self, save: Save, event: Event, metadata: Mapping[str, Any]) -> Record:
        return Record(
            id=0,
            file="",
            step=event.step,
            epoch=event.epoch,
            time=event.time,
            wall=event.wall,
            metrics={name: float(value) for name, value in event.metrics.items()},
            scores=dict(save.scores),
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
        """Mark what this attempt went back behind, once it has a checkpoint of its own."""
        if self._branched:
            return
        self._branched = True
        records = self._manifest.live()
        line = ancestors(records, self._manifest.attempts, self._run_id, self._attempt)
        for record in records:
            if record.superseded != (record.id not in line):
                self._manifest.change(record.id, superseded=record.id not in line)
