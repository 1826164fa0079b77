"""Outcomes of saves, delivered to the engine and to the listeners."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from ..errors import Busy, CkptError
from ..events import Event
from ..settings import Settings
from .committer import SaveOutcome
from .decider import Decider
from .directory import RunDirectory
from .listeners import Listener, Notifier
from .outside_requests import ControlChannel
from .saver import Saver

log = logging.getLogger("ckpt_callbacks")


class Outcomes:
    """The outcomes of a run's saves, reported on the training thread.

    Args:
        directory: The run directory.
        saver: Provides the outcomes.
        decider: Folds them into the engine's state.
        control: Keeps a save request open if its save failed.
        settings: The run's settings.
        listeners: Called with the records of successful saves.

    Attributes:
        answers: What to call with the outcome of a save, by its id.
    """

    def __init__(
        self,
        directory: RunDirectory,
        saver: Saver,
        decider: Decider,
        control: ControlChannel,
        settings: Settings,
        listeners: Sequence[Listener],
    ) -> None:
        self._directory = directory
        self._saver, self._decider, self._control, self._settings = saver, decider, control, settings
        self._notifier = Notifier(listeners, str(directory.dirpath))
        self.answers: dict[int, Callable[[SaveOutcome], None]] = {}
        self._skipped = 0  # saves that found no free snapshot
        self._failure: CkptError | None = None  # the first failure that has not been raised yet

    def deliver(self, step: int = 0, *, may_raise: bool = False, together: bool = True) -> None:
        """Report the outcomes of saves to the engine and the listeners. Collective if ``together``.

        Args:
            step: Updates done by now; the last event's number is used if it is higher.
            may_raise: Whether to raise a failure if ``on_error`` is ``"raise"``.
            together: True if all processes of the training run call this now.

        Raises:
            CommitError: A save failed.
        """
        records, answered, processes = [], list[SaveOutcome](), self._directory.processes
        for outcome in self._saver.drain_outcomes(together=together):
            busy = isinstance(outcome.error, Busy)
            if outcome.error is None:
                event = Event.saved(outcome.save, blocked=outcome.blocked)
            else:
                error = str(outcome.error)
                event = Event.dropped(outcome.save, error, step=step, blocked=outcome.blocked, busy=busy)
                self._failure = self._failure or (None if busy else outcome.error)
            if busy:
                self._skipped += 1
                level = logging.WARNING if self._skipped == 1 else logging.INFO
                log.log(level, "skipped a save, which stays due: %s", outcome.error)
            self._decider.settle(event)
            self._saver.records.pop(outcome.save, None)
            self._control.ended(outcome.save, outcome.error, self._decider.state.retry_step, processes)
            if outcome.record is not None:
                records.append(outcome.record)
            answered.append(outcome)
        for record in records:
            self._notifier.notify(record)
        for outcome in answered:
            if (answer := self.answers.pop(outcome.save, None)) is not None:
                answer(outcome)
        failure = self._failure
        if may_raise and failure is not None:
            self._failure = None
            if self._settings.on_error == "raise":
                raise failure

    def close(self) -> None:
        """Wait for the listeners, and log how many saves were skipped."""
        self._notifier.close()
        if self._skipped > 1:
            log.warning(
                "%s: skipped %d saves in total (max_pending=%d)",
                self._directory.dirpath, self._skipped, self._settings.max_pending,
            )  # fmt: skip
        self._skipped = 0
