"""Signals that ask a training run to end, after a save at its next safe point."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

log = logging.getLogger("ckpt_callbacks")

# SIGUSR1 is what SLURM sends some time before it ends a job.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class SignalWatch:
    """Remembers the first of the signals until the training loop asks for it; a second one ends the process at once.

    Previously installed handlers are called too. If the training has not ended ``grace`` seconds after the
    signal, the process is ended; a save that is being written is abandoned, which harms no checkpoint.

    Args:
        grace: Seconds from the signal to the end of the process.
        notify: Called when the first signal arrives.
        signals: The signals to watch for.
    """

    def __init__(
        self, grace: float, notify: Callable[[], None], signals: Sequence[signal.Signals] = SIGNALS
    ) -> None:  # fmt: skip
        self._grace, self._notify, self._signals = grace, notify, signals
        self._previous: dict[int, Any] = {}
        self._chained: Callable[[Any], Any] = lambda handler: handler
        self._timer: threading.Timer | None = None
        self._passes_on = False  # the handlers stay installed, and pass on every signal
        self.pending: signal.Signals | None = None

    def install(self, chained: Callable[[Any], Any] = lambda handler: handler) -> None:
        """Begin to watch. Python delivers signals to the main thread only; in any other thread, this only logs a line.

        Args:
            chained: Returns the part of a previously installed handler that must still be called.
        """
        if (thread := threading.current_thread()) is not threading.main_thread():
            log.warning(
                "OnPreempt will not save: training runs in the thread %r, and Python handles signals in the main "
                "thread only; train in the main thread, or in a separate process", thread.name,
            )  # fmt: skip
            return
        self._passes_on = False
        if self._previous:
            return
        for number in self._signals:
            self._previous[number] = signal.signal(number, self._handle)
        self._chained = chained

    def remove(self) -> None:
        """Restore the previous handlers if this object's are still installed.

        Only the main thread may do that, but the garbage collector may end a training run on any thread. In that case,
        the handlers stay installed and pass on every signal.
        """
        if self._previous and threading.current_thread() is not threading.main_thread():
            self._passes_on = True
            return
        while self._previous:
            number, previous = self._previous.popitem()
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous if previous is not None else signal.SIG_DFL)

    def end_process(self, number: signal.Signals) -> NoReturn:
        """End the process as the signal asks: KeyboardInterrupt for SIGINT, else the exit code 128 + number."""
        self.remove()
        if number is signal.SIGINT:
            self.forget()  # the user may catch it and continue
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def forget(self) -> None:
        """Forget the pending signal: it has been answered."""
        self.pending = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._passes_on:
            self._pass_on(number, frame)
            return
        if self.pending is not None:
            self._end_now(number)
            return
        self.pending = signal.Signals(number)
        self._notify()
        log.warning("%s: saving at the next safe point, then ending (at most %g s)", self.pending.name, self._grace)
        self._timer = threading.Timer(self._grace, self._end_now, (number,))
        self._timer.daemon = True
        with contextlib.suppress(RuntimeError):  # no thread can be started, so nothing enforces the grace period
            self._timer.start()
        previous = self._chained(self._previous.get(number))
        if callable(previous) and previous is not signal.default_int_handler:
            previous(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        if signal.getsignal(number) == self._handle:
            self.remove()
            signal.raise_signal(number)
        elif callable(previous):  # a later handler was installed, and calls this one
            previous(number, frame)

    def _end_now(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        else:
            os._exit(128 + number)  # only the main thread may change handlers
