"""The saves that the engine requests, carried out by all processes of a training run together."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..errors import Busy
from ..events import Event, EventKind
from ..policy.decision import Save
from ..policy.draft_record import draft_record
from ..policy.plan import needs_names
from ..policy.policy import Policy
from ..policy.state import State
from ..record import Attempt, Record
from ..runtime.clock import Clock
from ..runtime.environment import environment
from ..runtime.plain_values import plain
from ..settings import Settings
from .collective import announce, finish, follow
from .committer import Committer, SaveOutcome
from .directory import RunDirectory
from .embedded_state import embed_state
from .save_job import SaveJob
from .source import Embedded, Source

log = logging.getLogger("ckpt_callbacks")
_METADATA = 1000  # items of a container in the user's own metadata
_LAST = (
    EventKind.END,
    EventKind.PREEMPT,
    EventKind.EXCEPTION,
)  # no event follows them, so they wait for the file


@dataclass(frozen=True)
class Named:
    """The name that other code gives a save.

    Attributes:
        file: The name in the run directory; whatever has it is replaced.
        contents: ``full`` or ``weights``.
        report_earlier: Reports how earlier saves ended, before this one can take the place of their files. Collective.
    """

    file: str
    contents: str
    report_earlier: Callable[[], object]


class _Action(Enum):
    """The way a save is handled."""

    COPY = "take a snapshot and write it"
    REUSE = "another save of this event writes the same state"
    SKIP = "too many saves wait to be written"


class Saver:
    """Turns decisions to save into records, on the training thread.

    Args:
        directory: The run directory.
        policy: The run's policy.
        committer: Writes the files.
        settings: The run's settings.
        clock: The run's clock.
        notify: Called, on any thread, when a save has finished.

    Attributes:
        attempt: The current start of the run; None before the first one.
        finished: Outcomes of saves, oldest first, until the run collects them.
        records: The record id of each requested save whose outcome the engine does not know yet, by `Save.id`.
        failed: The ids of the named saves, and of the second names, that have failed.
    """

    def __init__(
        self,
        directory: RunDirectory,
        policy: Policy,
        committer: Committer,
        settings: Settings,
        clock: Clock,
        notify: Callable[[], None],
    ) -> None:
        self._directory, self._policy, self._committer = directory, policy, committer
        self._settings, self._clock, self._notify = settings, clock, notify
        self._metadata: dict[str, Any] = plain(dict(settings.metadata), most=_METADATA)
        self._needs_names = needs_names(policy.keep)
        self.attempt: Attempt | None = None
        self.finished: deque[SaveOutcome] = deque()
        self.records: dict[int, int] = {}
        self.failed: set[int] = set()
        self._handed_over = 0
        self._of_event: Record | None = None  # what is known of the file that was requested at the current event
        self._unwritten: set[int] = set()  # ids of requested files that are not finished
        self._has_warned = False  # about weights that are not finite

    def begin(self, attempt: Attempt) -> None:
        """Begin a training run."""
        self.attempt = attempt

    def begin_event(self) -> None:
        """Begin an event. All saves until the next event have the same state."""
        self._of_event = None

    def save(
        self, save: Save, event: Event, measured: Event, state: State, source: Source, tags: tuple[str, ...] = (),
        named: Named | None = None,
    ) -> None:  # fmt: skip
        """Take a snapshot and hand it over to be written; the outcome appears in `finished`.

        The last saves of a training run are never skipped, and have finished when this returns.

        Args:
            save: What the engine requested.
            event: The event at which it requested the save.
            measured: The event whose metrics are those of the weights that are saved.
            state: The engine's state after ``event``.
            source: The training run, as its adapter provides it.
            tags: The tags of a requested save.
            named: The name that other code gives it; otherwise it gets one when it is written.
        """
        try:
            self._save(save, event, measured, state, source, tags, named)
        except BaseException:
            # For example, an interrupt. If training continues, it has to know that this save will not be written.
            if save.id != self._handed_over:
                self._skip(save, "interrupted")
            raise
        if event.kind in _LAST:
            self._committer.wait()

    def embedded_state(self, state: State) -> dict[str, Any]:
        """Return the run's state for a checkpoint saved by other code, as plain JSON values."""
        return self._embedded_state(state, self._directory.view.last(), saving=False)

    def drain_outcomes(self, *, together: bool) -> list[SaveOutcome]:
        """Return the outcomes since the last call, oldest first.

        Args:
            together: True if all processes of the training run call this now, in which case all receive the same
                outcomes.
        """
        outcomes = []
        while self.finished:
            outcomes.append(self.finished.popleft())
        processes = self._directory.processes
        if not together or processes.is_single:
            return outcomes
        shared = processes.broadcast([dataclasses.replace(one, record=None) for one in outcomes])
        return outcomes if processes.is_primary else shared

    def _save(
        self, save: Save, event: Event, measured: Event, state: State, source: Source, tags: tuple[str, ...],
        named: Named | None,
    ) -> None:  # fmt: skip
        asked, processes = self._clock.monotonic(), self._directory.processes
        action: _Action = processes.broadcast(self._choose(event) if processes.is_primary else None)
        if action is _Action.SKIP:
            self._skip(save, "an earlier save is still being written")
            return
        draft = self._draft(save, event, measured, state, source.metadata() if processes.is_primary else {}, tags)
        if named is not None:
            named.report_earlier()
            is_whole = draft.resumable and named.contents == "full"
            draft = draft.replace(file=named.file, contents=named.contents, resumable=is_whole)
        if processes.is_primary:
            job = SaveJob(
                save.id, draft, asked, batches=event.batches, carries_metrics=measured is not event
            )  # fmt: skip
            self._lead(save, job, state, source, action)
        elif action is _Action.COPY:
            follow(processes, source.snapshot(self._embedded(draft, state)))

    def _choose(self, event: Event) -> _Action:
        if self._is_written():
            return _Action.REUSE
        if self._committer.waiting >= self._settings.max_pending:
            if self._settings.when_busy == "skip" and event.kind not in (*_LAST, EventKind.DEMAND):
                return _Action.SKIP
            self._committer.wait(self._settings.max_pending - 1)
        return _Action.COPY

    def _skip(self, save: Save, why: str) -> None:
        self._unwritten.discard(self.records.get(save.id, 0))
        self.finished.append(SaveOutcome(save.id, error=Busy(f"{self._directory.dirpath}: {why}")))

    def _lead(self, save: Save, job: SaveJob, state: State, source: Source, action: _Action) -> None:
        if action is _Action.COPY:
            self._of_event = job.draft.replace(id=self._committer.new_id())
        assert self._of_event is not None
        self.records[save.id] = record = self._of_event.id  # before the snapshot, which contains it
        if action is _Action.COPY:
            job = self._with_snapshot(dataclasses.replace(job, draft=self._of_event), state, source)
        else:
            job = dataclasses.replace(job, unchanged=record)
        self._unwritten.add(record)
        self._committer.save(job, lambda outcome: self._finish(save, record, outcome))
        self._handed_over = save.id
        finish(self._directory.processes, job.snapshot)

    def _with_snapshot(self, job: SaveJob, state: State, source: Source) -> SaveJob:
        snapshot, failed = None, None
        try:
            snapshot = source.snapshot(self._embedded(job.draft, state))
        except Exception as error:  # whatever a framework raises: a failed save never ends a training run
            failed = error
        snapshot = announce(self._directory.processes, snapshot)
        waits = not self._settings.background or (snapshot is not None and snapshot.live)
        blocked = None if waits else self._clock.monotonic() - job.asked
        return dataclasses.replace(job, snapshot=snapshot, failed=failed, blocked=blocked)

    def _finish(self, save: Save, record: int, outcome: SaveOutcome) -> None:
        if outcome.record is not None:
            self._warn_if_not_finite(outcome.record)
            verb = "saved" if outcome.record.reasons == save.reasons else "holds already"
            log.info("%s %s: %s", verb, outcome.record.file, "; ".join(save.reasons))
        self._unwritten.discard(record)
        self.take(outcome)

    def take(self, outcome: SaveOutcome) -> None:
        """Take the outcome of a save, or of a request that needs no snapshot. Called on any thread."""
        if outcome.error is not None:
            log.warning("%s", outcome.error)
            if outcome.save < 0:
                self.failed.add(outcome.save)
        self.finished.append(outcome)
        self._notify()

    def _warn_if_not_finite(self, record: Record) -> None:
        if not (record.finite or self._has_warned):
            self._has_warned = True
            log.warning(
                "%s: has NaN or infinity in its weights, or in a metric that ends the run; best() never returns it, "
                "and resume_path() skips it", record.path,
            )  # fmt: skip

    def _is_written(self) -> bool:
        """Return True if a file was requested at the current event, and exists or is being written.

        Nothing can have changed the state since that request. After another event, even of the same step, something may
        have.
        """
        requested = self._of_event
        if requested is None:
            return False
        if requested.id in self._unwritten:  # checked first: a save that has finished already has its last status
            return True
        record = self._directory.manifest.records.get(requested.id)
        # Not Path.exists, which raises an exception if the disk is broken.
        return record is not None and record.status.on_disk and os.path.exists(record.path)

    def _draft(
        self,
        save: Save,
        event: Event,
        measured: Event,
        state: State,
        metadata: Mapping[str, Any],
        tags: tuple[str, ...],
    ) -> Record:
        attempt = self.attempt
        assert attempt is not None
        return draft_record(
            save,
            event,
            measured=measured,
            policy=self._policy,
            state=state,
            run=attempt.run,
            attempt=attempt.number,
            parent=attempt.parent,
            fit=attempt.facts["fit"],
            contents=self._settings.contents,
            metadata={**plain(metadata), **self._metadata, "environment": environment()},
            tags=tags,
        )

    def _embedded(self, draft: Record, state: State) -> Embedded:
        own = self._embedded_state(state, draft, saving=True)
        return Embedded(draft.to_json(), own, draft.contents, self._needs_names)

    def _embedded_state(self, state: State, newest: Record | None, *, saving: bool) -> dict[str, Any]:
        number = self.attempt.number if self.attempt is not None else 0
        return embed_state(
            state, self._directory.view.current, number, newest=newest, saving=saving, records=self.records
        )
