"""Signals that ask a training run to end, after a save at its next safe point."""

from __future__ import annotations

import _thread
import contextlib
import logging
import math
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from . import standard_streams
from .children import Shield, hold_back_losses, uncover
from .watchdog import Watchdog, flush

log = logging.getLogger("ckpt_callbacks")

_SAYS = 0.2  # seconds that the end of the process waits for a line
# SIGUSR1 is what SLURM sends some time before it ends a job.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class SignalWatch:
    """One run's part in the signals of its process, from `install` to `remove`.

    A process may have several: of the callbacks of one fit, and of a fit within another. A signal asks all of them for
    a save, and the last one of a fit to answer ends the process; fits around it are told by the exception.

    Args:
        grace: Seconds from the signal to the end of the process.
        notify: Called when the first signal arrives.
        signals: The signals to watch for.

    Attributes:
        pending: The signal that arrived; None before it.
        answered: True if this run has done what the signal asks for.
        failure: Why it could not, if this is to be raised once all runs of the fit have answered.
        fit: Equal for all watches of one fit. It must not keep the fit alive.
        chained: Returns the part of a previously installed handler that must still be called.
        save: Called when a fit within this one ends the process, if the exception alone would not tell this run.
        released: Called when the process ends after the run has answered.
        is_alive: Returns False if the fit has ended without `remove`.
        replaced: The handlers that were installed before, by number.
    """

    def __init__(
        self, grace: float, notify: Callable[[], None], signals: Sequence[signal.Signals] = SIGNALS
    ) -> None:  # fmt: skip
        self.grace, self.notify, self.signals = grace, notify, signals
        self.pending: signal.Signals | None = None
        self.answered = False
        self.failure: Exception | None = None
        self.fit: object = self
        self.chained: Callable[[Any], Any] = lambda handler: handler
        self.save: Callable[[], object] = lambda: None
        self.released: Callable[[], object] = lambda: None
        self.is_alive: Callable[[], bool] = lambda: True
        self.replaced: dict[int, Any] = {}

    def shield_children(self) -> None:
        """Prevent the signals from killing the processes that this one starts from now on; see `Shield`."""
        if threading.current_thread() is threading.main_thread():
            _shielded.add(self)
            _SHIELD.put_up()

    def install(self, fit: object = None, **calls: Callable[..., Any]) -> None:
        """Begin to watch. Python delivers signals to the main thread only; in any other thread, this only logs a line.

        Args:
            fit: See `SignalWatch`. None if the run has its fit for itself.
            **calls: The attributes ``chained``, ``save``, ``released`` and ``is_alive``.
        """
        if (thread := threading.current_thread()) is not threading.main_thread():
            log.warning(
                "OnPreempt will not save: training runs in the thread %r, and Python handles signals in the main "
                "thread only; train in the main thread, or in a separate process", thread.name,
            )  # fmt: skip
            return
        self.fit = self if fit is None else fit
        for name, call in calls.items():
            setattr(self, name, call)
        PROCESS.add(self)

    def remove(self) -> None:
        """End the watch. What has arrived stays in `pending`."""
        PROCESS.discard(self)
        _shielded.discard(self)
        if not _shielded:
            _SHIELD.take_down()

    def adopt(self, number: int) -> None:
        """Behave as if the signal had arrived here: another process of the training run got it."""
        if self.pending is None:
            PROCESS.adopt(signal.Signals(number))

    @property
    def awaits_others(self) -> bool:
        """True if other runs of the same fit have not answered yet."""
        return any(not one.answered for one in PROCESS.siblings(self) if one is not self)

    def end_process(self, number: signal.Signals) -> NoReturn:
        """End the process as the signal asks: KeyboardInterrupt for SIGINT, else the exit code 128 + number.

        Raises:
            Exception: Instead, the `failure` of the first watch of the fit that has one.
        """
        PROCESS.finish_saying()
        watches = list(dict.fromkeys((*PROCESS.siblings(self), self)))
        for one in watches:
            one.released()
            one.remove()
        for one in watches:
            if one.failure is not None:
                raise one.failure
        for one in PROCESS.unanswered():
            one.save()
        if number is signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)


class ProcessSignals:
    """The signals of this process: one handler for all watches. A second signal ends the process at once.

    Previously installed handlers are called too. If the process has not ended ``grace`` seconds after the signal (the
    shortest one of all watches), it is ended; a save that is being written is abandoned; no checkpoint is harmed.
    """

    def __init__(self) -> None:
        self._watches: list[SignalWatch] = []
        self._leaving: list[SignalWatch] = []  # ended on another thread, which may not change handlers
        self._pending: signal.Signals | None = None
        self._is_adopted = False  # the pending signal has not arrived here
        self._watchdog = Watchdog(SIGNALS)
        self._said = threading.Event()
        self._frame: FrameType | None = None  # where training was interrupted, while its signal is handled
        self._before: dict[int, Any] = {}  # handlers that a later one still reaches through this one
        os.register_at_fork(after_in_child=self._begin_in_fork)

    def add(self, watch: SignalWatch) -> None:
        """Add a watch, and install the handler where another one is installed. Called on the main thread."""
        self._let_leave()
        if not self._watches:
            self.forget()  # the script goes on in spite of it
            uncover(watch.signals)
        if watch not in self._watches:
            self._watches.append(watch)
            watch.pending, watch.answered, watch.failure = self._pending, False, None
        for number in watch.signals:
            if (current := signal.getsignal(number)) != self.handle:
                watch.replaced[number] = current
                signal.signal(number, self.handle)
        if self._pending is None:
            self._watchdog.watch(self._grace)

    def discard(self, watch: SignalWatch) -> None:
        """Remove a watch, and restore the handlers that it replaced if no other watch needs this one.

        Only the main thread may do that, but the garbage collector may end a training run on any thread. In that case,
        the handler stays installed and passes on what nobody watches for.
        """
        if watch not in self._watches:
            return
        if threading.current_thread() is not threading.main_thread():
            self._watches.remove(watch)
            self._leaving.append(watch)
            return
        later = self._watches[self._watches.index(watch) + 1 :]
        self._watches.remove(watch)
        self._restore(watch, later)
        if not self._watches and self._pending in (None, signal.SIGINT):
            self.forget()  # the user may catch it and continue

    def siblings(self, watch: SignalWatch) -> list[SignalWatch]:
        """Return the watches of the same fit, oldest first."""
        return [one for one in self._watches if one.fit == watch.fit]

    def unanswered(self) -> list[SignalWatch]:
        """Return the watches that a signal waits for, newest first."""
        return [one for one in reversed(self._watches) if one.pending is not None and not one.answered]

    def forget(self) -> None:
        """Forget the pending signal."""
        self._pending, self._is_adopted = None, False
        self._watchdog.watch(math.inf)

    def finish_saying(self) -> None:
        """Wait a moment for the line about the signal, if one is under way."""
        if self._pending is not None and not self._is_adopted:
            self._said.wait(_SAYS)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal. Python calls this between two instructions of the main thread."""
        if frame is not None and frame is self._frame:
            return  # a handler that is called below calls this one
        is_called_by_another = signal.getsignal(number) != self.handle
        self._let_leave()
        if not any(number in one.signals for one in self._watches):
            self._pass_on(number, frame, is_called_by_another)
            return
        if self._pending is not None and not self._is_adopted:
            self._end_now(number)
        is_first, self._is_adopted = self._pending is None, False
        if is_first:
            self._expect_end(signal.Signals(number))
            with contextlib.suppress(RuntimeError):  # no thread can be started
                _thread.start_new_thread(self._say, (signal.Signals(number).name, self._grace))
        self._frame = frame
        try:
            for previous in self._chain(number):
                previous(number, frame)
        finally:
            self._frame = None

    def adopt(self, number: signal.Signals) -> None:
        """Begin to end for a signal that came to another process; the same signal may still come to this one."""
        if self._watches and self._pending is None:
            self._is_adopted = True
            self._expect_end(number)

    def _expect_end(self, number: signal.Signals) -> None:
        """Notify the watches of the signal, and limit the time until the process ends to `_grace`."""
        hold_back_losses()
        self._pending = number
        self._said.clear()
        for watch in self._watches:
            watch.pending = number
            watch.notify()
        self._watchdog.bark(number, self._grace)
        standard_streams.prepare()
        with contextlib.suppress(RuntimeError):  # no thread can be started
            _thread.start_new_thread(standard_streams.keep_writable, (lambda: self._pending is not None,))

    @property
    def _grace(self) -> float:
        return min((watch.grace for watch in self._watches), default=math.inf)

    def _say(self, name: str, grace: float) -> None:
        # On a separate thread: the reader of the log may have stopped, and a thread that waits for it may hold the lock
        # of the logger.
        log.warning("%s: saving at the next safe point, then ending (at most %g s)", name, grace)
        self._said.set()

    def _chain(self, number: int) -> Iterator[Callable[..., Any]]:
        for watch in reversed(self._watches):
            previous = watch.chained(watch.replaced.get(number))
            if callable(previous) and previous is not signal.default_int_handler:
                yield previous

    def _let_leave(self) -> None:
        """End the watches that other threads have ended, and those of fits that are no longer running."""
        for watch in [one for one in self._watches if not one.is_alive()]:
            self.discard(watch)
        while self._leaving:
            self._restore(self._leaving.pop(), self._watches)

    def _restore(self, watch: SignalWatch, later: Sequence[SignalWatch]) -> None:
        while watch.replaced:
            number, previous = watch.replaced.popitem()
            heir = next((one for one in later if number in one.signals and number not in one.replaced), None)
            if heir is not None:
                heir.replaced[number] = previous
            elif signal.getsignal(number) == self.handle:
                signal.signal(number, previous if previous is not None else signal.SIG_DFL)
            else:
                self._before[number] = previous

    def _begin_in_fork(self) -> None:
        """Watch for nothing in a process that was forked from the one that trains."""
        self._pending, self._is_adopted = None, False
        self._watchdog.leave_fork()
        self._leaving += self._watches
        self._watches.clear()
        self._let_leave()

    def _pass_on(self, number: int, frame: FrameType | None, is_called_by_another: bool) -> None:
        if not is_called_by_another:
            signal.raise_signal(number)  # to the handler that was restored
        elif callable(previous := self._before.get(number)):
            previous(number, frame)

    def _end_now(self, number: int) -> None:
        flush()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)  # to this thread: another one might get it only after the next line
        os._exit(128 + number)  # the first process of a container gets no signal that it does not handle


PROCESS = ProcessSignals()
_SHIELD = Shield(SIGNALS)
_shielded: weakref.WeakSet[SignalWatch] = weakref.WeakSet()
