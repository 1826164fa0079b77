"""Requests to a training run from outside: to save, or to save and end."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ..runtime.clock import Clock
from ..runtime.processes import Agreement, Processes
from ..runtime.signals import SignalWatch
from .save_now_file import SaveRequest

log = logging.getLogger("ckpt_callbacks")

_POLL_EVERY = 0.5  # seconds between two checks of the disk


class ControlChannel:
    """Signals, and the file that people touch to ask for a checkpoint.

    Args:
        save_now: The file that asks for a save.
        grace: Seconds from a signal to the end of the process.
        clock: Says when to check the disk again.
        notify: Called when a signal arrives.
    """

    def __init__(self, save_now: Path, grace: float, clock: Clock, notify: Callable[[], None]) -> None:
        self._save_now, self._clock = save_now, clock
        self._signals = SignalWatch(grace, notify)
        self._polled_at = 0.0
        self._touched_at = 0  # when the file was touched, in nanoseconds
        self._request = SaveRequest(save_now)
        self._answered_at: int | None = None  # the same for a file that was answered and cannot be removed
        self._agreed: signal.Signals | None = None  # the signal that all processes have agreed on
        self._requested, self._retry_at = False, 0
        self._pending: set[int] = set()  # ids of saves on request that have no outcome yet

    @property
    def next_poll(self) -> float:
        """When to check the disk next, in the clock's monotonic seconds."""
        return self._polled_at + _POLL_EVERY

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that the open request names; on the primary process only."""
        return self._request.tags

    def shield_children(self) -> None:
        """Prevent the signals that `expect_signals` watches for from killing the processes that load data."""
        self._signals.shield_children()

    def expect_signals(self, processes: Processes, fit: object, **calls: Callable[..., Any]) -> None:
        """Start watching for signals; see `SignalWatch.install`."""
        self._signals.install(fit, chained=processes.chained_handler, **calls)

    @property
    def has_answered(self) -> bool:
        """True once this run has saved for a signal; nothing is left to do until the process ends."""
        return self._signals.answered

    def poll(self, processes: Processes, finished: int, **facts: Any) -> Agreement:
        """Poll for requests and share them between processes. Collective.

        Args:
            processes: The processes of the training run.
            finished: Number of saves that this process knows to have finished.
            **facts: Further fields of `Agreement` to share.

        Returns:
            What all processes have agreed on.
        """
        agreed = processes.agree(
            Agreement(self._is_requested(processes), self._signals.pending or 0, finished, **facts)
        )
        self._requested = self._requested or agreed.requested
        self._agreed = signal.Signals(agreed.signal) if agreed.signal else None
        if self._agreed is not None:
            self._signals.adopt(self._agreed)
        return agreed

    def should_exit(self, processes: Processes) -> bool:
        """Return True if a signal asks training to end."""
        number = self._signals.pending if processes.is_single else self._agreed
        return number is not None and not self._signals.answered

    def save_is_due(self, step: int) -> bool:
        """Return True if a requested save should be tried at ``step``."""
        return self._requested and not self._pending and step >= self._retry_at

    def began(self, save: int) -> None:
        """Record that the save with this id answers the request."""
        self._pending.add(save)

    def ended(self, save: int, error: Exception | None, retry_at: int, processes: Processes) -> None:
        """Record the outcome of a save. If it failed, the request stays open.

        Args:
            save: The save's id.
            error: Why it failed, or None.
            retry_at: The step before which a failed save is not tried again.
            processes: The processes of the training run.
        """
        if save not in self._pending:
            return
        self._pending.discard(save)
        if error is None:
            self._acknowledge(processes)
        else:
            self._retry_at = retry_at

    def answer(self, failure: Exception | None, last: Callable[[], object]) -> None:
        """Record that the run has saved for the signal. If all runs of the fit have, the process ends.

        Args:
            failure: Raised in that case instead of ending the process.
            last: Called in that case before: nothing else is saved.
        """
        self._signals.answered, self._signals.failure = True, failure
        if not self._signals.awaits_others:
            number = self._signals.pending or self._agreed
            assert number is not None
            last()
            self.end_process(number)

    def end_process(self, number: signal.Signals) -> NoReturn:
        """End the process as the signal ``number`` asks."""
        self._signals.end_process(number)

    def close(self) -> signal.Signals | None:
        """Stop watching. Returns the signal that arrived, if any, unless another run of the fit will answer it."""
        number = None if self._signals.awaits_others else self._signals.pending
        self._signals.remove()
        return number

    def _is_requested(self, processes: Processes) -> bool:
        # Check the disk occasionally, not at each step.
        now = self._clock.monotonic()
        # Processes that train together agree about as often, so do not miss an agreement that comes a little early.
        due_at = self.next_poll if processes.is_single else self._polled_at + _POLL_EVERY / 2
        if not processes.is_primary or now < due_at:
            return False
        self._polled_at = now
        if self._requested:
            return False
        try:
            self._touched_at = os.lstat(self._save_now).st_mtime_ns
        except OSError:  # it does not exist, or the disk is broken
            return False
        if self._touched_at == self._answered_at:
            return False
        self._request.read()
        return True

    def _acknowledge(self, processes: Processes) -> None:
        self._requested, self._retry_at = False, 0
        if not processes.is_primary:
            return
        self._request.answered()
        try:
            if os.lstat(self._save_now).st_mtime_ns == self._touched_at:  # otherwise, the request is a new one
                self._save_now.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:  # a folder, or another user's file
            if self._answered_at is None:
                log.warning(
                    "%s: cannot be removed (%s), so it stays; touch it to request another save", self._save_now,
                    error.strerror,
                )  # fmt: skip
            self._answered_at = self._touched_at
