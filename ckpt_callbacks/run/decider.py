"""What happens in a training: the engine decides about it, and what it decides is carried out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import Busy, CkptError
from ..events import Event, EventKind
from ..policy.decision import Decision
from ..policy.engine import deadline_is_due, decide, horizon, never_logged
from ..policy.filename import FileName
from ..policy.state import State
from ..record import Record
from ..runtime.clock import Clock
from ..runtime.worker import Worker
from .committer import SameContent
from .control import Requests
from .directory import Holding
from .gate import Quiet
from .saver import Saver, Saving
from .snapshot import Snapshot

log = logging.getLogger("ckpt_callbacks")
_SAFE_POINTS = (EventKind.STEP_END, EventKind.VALIDATION_END, EventKind.EPOCH_END)


class Deciding(Holding):
    """The part of a `Run` that is told what happens; see there for what it is made of."""

    state: State
    quiet: Quiet
    metadata: dict[str, Any]
    on_saved: Callable[[Record], None]
    _clock: Clock
    _worker: Worker
    _saver: Saver
    _requests: Requests
    _filename: FileName
    _on_error: str
    _time_zero = 0.0  # when training time began, on the run's clock
    _deadline: float | None
    _measured: Event | None = None  # the last event of a finished step
    _names_checked = False
    _skipped = 0  # saves for which there was no place
    _failure: CkptError | None = None  # the first one that nobody was told of
    _demanded: set[int]  # saves that somebody wished and that have not landed

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
        self._begin(step)
        saving = Saving(stage, same, metadata)
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
        self._begin(step)
        saving = Saving(stage, None, metadata)
        # Only for a deadline: a signal and a wish are no reason to ask the other rules before the validation.
        if self.policy.deadlines and deadline_is_due(
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

    def prepare(self, job: Callable[[], None]) -> None:
        """Have something done beside the training that the first save would else have to wait for."""
        self._worker.submit(job)

    def wait(self) -> None:
        """Return when every save that was asked for has come to its end.

        Any process may call this, alone. What became of the saves, those that train together are told together.
        """
        self._worker.wait()
        if self.peers.alone:
            self._take_landed()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _begin(self, step: int) -> None:
        """Look at what has happened so far; what happens from now on rings again."""
        self.quiet.wake()
        if self.peers.alone:
            self._take_landed(step, may_raise=True)

    def _answer(self, step: int, epoch: int, saving: Saving, measured: Event | None) -> None:
        if self.peers.alone:
            self.listen()
        if self._requests.save and not self._demanded and step >= self._requests.again_at:
            self._handle(EventKind.DEMAND, step, epoch, {}, False, saving, measured)
        if self.interrupted:
            self._handle(EventKind.PREEMPT, step, epoch, {}, False, saving, measured)
            self._worker.wait()
            self._take_landed(step)
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
            self._take_landed(step, may_raise=True)
        return decision

    def _take_landed(self, step: int = 0, *, may_raise: bool = False, together: bool = True) -> None:
        """Tell the engine, and whoever waits for it, what became of saves. All processes do it ``together``.

        Args:
            step: Updates done by now; those of the last event, if they are more.
        """
        records = []
        for landed in self._saver.take(together=together):
            busy = isinstance(landed.error, Busy)
            if landed.error is None:
                outcome = Event.saved(landed.save, blocked=landed.blocked)
            else:
                told = {"step": step, "blocked": landed.blocked, "busy": busy}
                outcome = Event.dropped(landed.save, str(landed.error), **told)
                if not busy:
                    self._failure = self._failure or landed.error
            if busy:
                self._skipped += 1
                level = logging.WARNING if self._skipped == 1 else logging.INFO
                log.log(level, "skipped a save, which stays due: %s", landed.error)
            self.state, _ = decide(self.policy, self.state, outcome)
            if landed.save in self._demanded:
                self._demanded.discard(landed.save)
                if landed.error is None:
                    self._requests.fulfilled(self.peers)
                else:
                    self._requests.again_at = self.state.retry_step  # the wish stands, like what a rule is owed
            if landed.record is not None:
                records.append(landed.record)
        for record in records:  # last, because a logger may raise
            self.on_saved(record)
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
        if (metrics and self.policy.monitored.intersection(metrics)) or self.policy.may_differ_across_ranks:
            # what processes measure differs; what they do must not
            time, wall, deadline, metrics = self.peers.share((time, wall, deadline, metrics))
        return Event(kind, step, epoch, time, wall, metrics, complete, deadline=deadline)

    def _check_names(self) -> None:
        self._names_checked = True
        if unknown := self._filename.unknown({*self.state.logged_names, *self.metadata}):
            log.warning("filename: {%s} %s", "}, {".join(unknown), never_logged(self.state))
        if strange := [name for name in self.policy.non_finite_names if name not in self.state.logged_names]:
            log.warning("NonFinite: %s %s", ", ".join(map(repr, strange)), never_logged(self.state))
