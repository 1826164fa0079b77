"""The engine and the saves of one training run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import CommitError, MetricError
from ..events import Event, EventKind
from ..policy.decision import Decision
from ..policy.filename import FileName
from ..policy.missing_metrics import ranks_nothing_yet
from ..policy.policy import Policy
from ..policy.ranking import last_record
from ..runtime.clock import Clock
from ..runtime.processes import Agreement
from ..settings import Settings
from .agreed_steps import AgreedSteps
from .committer import Committer
from .decider import SAFE_POINTS, Decider
from .directory import RunDirectory
from .embedded_state import restore_state
from .listeners import Listener
from .named_saves import NamedSaves, Training
from .newest_intact import mark_known
from .outcomes import Outcomes
from .outside_requests import ControlChannel
from .saver import Saver
from .source import Source
from .step_gate import StepGate
from .unranked_warning import UnrankedWarning

_AFTER_ERRORS = (EventKind.EXCEPTION, EventKind.PREEMPT)  # what adapters report once a fit has failed


class Session:
    """One training run, from its first `fit` in this process to its last. It ends when another run begins.

    Args:
        directory: The run directory.
        policy: The run's policy.
        settings: The run's settings.
        committer: Carries out the saves.
        control: The requests from outside.
        gate: Says which steps must be reported.
        listeners: Called with the records of successful saves.
        filename: Template of the file names.
        clock: The run's clock.

    Attributes:
        decider: The engine with its state.
        saver: Carries out the saves that the engine requests.
        outcomes: Reports how they ended.
        unranked: Names metrics by which no checkpoint ranks.
        agreed: When processes that train together agree next.
        named: The saves that other code asks for.
    """

    def __init__(
        self,
        directory: RunDirectory,
        policy: Policy,
        settings: Settings,
        committer: Committer,
        control: ControlChannel,
        gate: StepGate,
        listeners: list[Listener],
        filename: FileName,
        clock: Clock,
    ) -> None:
        self._directory, self._policy, self._committer, self._control = directory, policy, committer, control
        self._gate, self._clock = gate, clock
        self._for_mirrors = settings.grace / 2  # seconds, after a signal
        self.decider = Decider(policy, clock, filename, settings.metadata)
        self.saver = Saver(directory, policy, committer, settings, clock, notify=gate.open)
        self.outcomes = Outcomes(directory, self.saver, self.decider, control, settings, listeners)
        self.unranked = UnrankedWarning(directory.view, policy)
        self.agreed = AgreedSteps(clock, settings.grace if policy.saves_on_preempt else math.inf)
        self._source: Source | None = None
        self._parent: int | None = None  # the record from which training continues
        self._is_restored = self._is_new = False  # since the last `fit` began; in the `fit` that begins
        self._agreement: Agreement | None = None  # about the step whose end is observed next
        self.named = NamedSaves(
            directory, committer, self.saver, self.decider, self.outcomes,
            Training(self._begin_event, lambda: self._source),
        )  # fmt: skip

    @property
    def is_first_fit(self) -> bool:
        """True if no `fit` of this session has begun."""
        return self.saver.attempt is None

    @property
    def should_exit(self) -> bool:
        """True if a signal asks training to end."""
        return self._control.should_exit(self._directory.processes)

    def restore(self, embedded: Mapping[str, Any] | None, path: str | PathLike[str] | None = None) -> bool:
        """Continue from the state that a checkpoint contains; see `Run.restore`. Return whether there is anything."""
        manifest, view = self._directory.manifest, self._directory.view
        manifest.refresh()
        if embedded is None:
            if (record := view.find(Path(path)) if path is not None else None) is None:
                return False
            same = [one.id for one in manifest.live() if (one.run, one.step) == (record.run, record.step)]
            self._parent, self._is_restored = max(same), True  # files of one step have equal weights
            if view.names_are_given:  # otherwise, its rules would delete what another program has saved
                view.current = record.run
            return True
        self.decider.state = restore_state(embedded, self._policy, manifest, self._directory.dirpath)
        if any(attempt.run == embedded["run"] for attempt in manifest.attempts):
            view.current, self._parent, self._is_restored = embedded["run"], embedded["record"], True
        return True

    def begin(self, source: Source, facts: Mapping[str, Any]) -> None:
        """Begin a `fit`.

        Args:
            source: The training run, as its adapter provides it.
            facts: Plain JSON values to store with the attempt.
        """
        self._source, self._is_new = source, self.is_first_fit and not self._is_restored
        if not self.is_first_fit and not self._is_restored:  # another `fit` continues where the last one ended
            last = last_record(self._directory.view.records())
            self._parent = last.id if last else self._parent
        if self._is_restored and self._directory.knows_policy:  # a new policy deletes nothing before its first save
            self._directory.finish_last_save(self.decider.state)
        self._is_restored = False
        if self._directory.processes.is_primary:
            mark_known(self._directory.view)
        self.saver.begin(self._directory.begin(self._parent, self._clock.wall(), facts))
        self.decider.begin()
        self.agreed.begin()

    def begin_without_training(self, facts: Mapping[str, Any]) -> None:
        """Record the start of a restored `fit` that has nothing left to train, if the journal lacks its policy."""
        processes, directory = self._directory.processes, self._directory
        if processes.broadcast(bool(directory.view.current) and not directory.knows_policy):
            directory.begin(self._parent, self._clock.wall(), facts)
        if processes.is_primary:
            directory.mirrors.start()  # they may lack something

    def observe(self, event: Event) -> Decision:
        """Report one event, and carry out what the policy decides; see `Run.observe`."""
        if self._control.has_answered:  # the fit ends as soon as its other callbacks have saved
            return Decision()
        event = self._begin_event(event)
        if event.kind is EventKind.START and self._directory.processes.is_primary:
            self._directory.announcements.start(
                self._policy, is_new=self._is_new, is_first=len(self._directory.manifest.attempts) == 1,
                step=event.step, epoch=event.epoch,
            )  # fmt: skip
        if event.kind is EventKind.EXCEPTION and self._directory.keeps_all:
            return Decision()  # all was saved before this error was raised
        try:
            decision = self._handle(event)
        except CommitError:
            if event.kind not in _AFTER_ERRORS:
                raise
            decision = Decision()  # that save is on record as failed, and the error that ended the fit propagates
        if event.kind in SAFE_POINTS:
            self._serve_requests(event)
        return decision

    def save_if_urgent(self, event: Event) -> None:
        """Save at once if a signal, a save request or a deadline asks for it, at a moment that is not an event.

        Args:
            event: What a decision at this moment is based on.
        """
        if self._control.has_answered:
            return
        event = self._begin_event(event)
        # Only for a deadline: a signal or a request is no reason to evaluate the other rules before the validation.
        if self.decider.deadline_is_due(event, self._directory.processes):
            self._agreement = None  # it is about an earlier event
            self._handle(event)
        self._serve_requests(event)

    def agree(self, step: int, **facts: bool) -> None:
        """Share signals, save requests and finished saves between processes, and deliver outcomes; see `Run.agree`."""
        if self._control.has_answered:
            return
        processes, own = self._directory.processes, dict[str, int](facts)
        if processes.is_primary:
            own["ahead"] = self.agreed.ahead(step, self.decider.horizon, self.decider.time_zero)
            own |= self.decider.clocks()
        agreed = self._control.poll(processes, len(self.saver.finished), **own)
        self._agreement = agreed
        self.agreed.next = step + (1 if agreed.each_step else agreed.ahead)
        if agreed.finished:
            self.outcomes.deliver(may_raise=True)

    def _begin_event(self, event: Event) -> Event:
        """Check what has happened so far; anything that happens from now on opens the gate again.

        Returns:
            The event, with an identity of its weights.
        """
        self._gate.clear()
        self.agreed.pause()
        self.saver.begin_event()
        if self._directory.processes.is_single:
            self.outcomes.deliver(event.step, may_raise=event.kind not in _AFTER_ERRORS)
        # Unknown weights are the same only within this event.
        return event if event.weights is not None else dataclasses.replace(event, weights=object())

    def _handle(self, event: Event) -> Decision:
        agreement = self._agreement if event.kind is EventKind.STEP_END else None
        decision, stamped = self.decider.decide(event, self._directory.processes, agreement)
        if decision.error:  # a misspelt metric ranks nothing, so its rules must not delete what it was to rank
            self._directory.keeps_all = True
        self._directory.awaits_rank = ranks_nothing_yet(self._policy, self.decider.state)
        if decision.save is not None and self._source is not None:
            requested = event.kind is EventKind.DEMAND
            if requested:
                self._control.began(decision.save.id)
            measured, tags = self.decider.measured_at(stamped), self._control.tags if requested else ()
            self.saver.save(decision.save, stamped, measured, self.decider.state, self._source, tags)
            self.outcomes.deliver(event.step, may_raise=True)
        if decision.save is not None and event.kind is EventKind.PREEMPT and self._directory.processes.is_primary:
            self._directory.announcements.preempt(self._directory.view.last(), event.step)
        if self._directory.processes.is_primary:
            self.unranked.observe(stamped, decision.save is not None, self.decider.state)
        if decision.error:
            self._committer.wait()
            raise MetricError(decision.error)
        return decision

    def _serve_requests(self, event: Event) -> None:
        if self._directory.processes.is_single:
            self._control.poll(self._directory.processes, 0)
        if self._control.save_is_due(event.step):
            self._handle(_without_metrics(event, EventKind.DEMAND))
        if self.should_exit:
            failure = None
            try:
                self._handle(_without_metrics(event, EventKind.PREEMPT))
            except CommitError as error:
                failure = error  # the other callbacks of the fit save first
            self._committer.wait()
            self.outcomes.deliver(event.step)
            send = partial(self._directory.mirrors.finish, self._for_mirrors, self._for_mirrors)
            self._control.answer(failure, send)


def _without_metrics(event: Event, kind: EventKind) -> Event:
    return dataclasses.replace(event, kind=kind, metrics={}, complete=False)
