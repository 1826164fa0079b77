"""A limit on the time from a signal to the end of the process, regardless of what hangs in it."""

from __future__ import annotations

import _thread
import contextlib
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection

from . import countdown

log = logging.getLogger("ckpt_callbacks")
_FLUSH = 0.1  # seconds for what is buffered


class Watchdog:
    """Ends this process ``grace`` seconds after one of the signals.

    A child process counts, because it needs neither this process's main thread nor its GIL. When the time is over, a
    thread that waits for the child's message ends this process with the exit code 128 + number; if the thread cannot
    run, the child sends the signal once more, and then SIGKILL. Without a child (none can be started, or it was
    killed), a thread counts from the moment at which Python handles the signal.

    Args:
        signals: The signals.
    """

    def __init__(self, signals: Collection[int]) -> None:
        self._signals = signals
        self._pipe: int | None = None  # to the child; None if there is none
        self._child: subprocess.Popen[bytes] | None = None
        self._armed = 0  # how often the watchdog was set

    def watch(self, grace: float) -> None:
        """Begin to watch, or forget a signal that has arrived. Called on the main thread.

        Args:
            grace: Seconds from the signal to the end of the process; infinity not to watch any longer.
        """
        self._armed += 1
        if grace < math.inf and self._child is None:
            self._start()
        self._send(countdown.GRACE.pack(255, grace))
        if self._pipe is None:
            return
        if grace == math.inf:
            self._restore_wakeup()
        elif (before := signal.set_wakeup_fd(self._pipe, warn_on_full_buffer=False)) not in (-1, self._pipe):
            signal.set_wakeup_fd(before)  # an event loop needs it; the countdown starts when Python handles the signal

    def bark(self, number: int, grace: float) -> None:
        """Start the countdown, unless the child has already started it. Called when a signal is known."""
        if self._send(countdown.ARM.pack(254, number)):
            return
        with contextlib.suppress(RuntimeError):  # no thread can be started, so nothing enforces the grace period
            _thread.start_new_thread(self._count, (number, grace, self._armed))

    def leave_fork(self) -> None:
        """Detach a process that was forked from this one from the child."""
        if self._pipe is not None:
            self._restore_wakeup()
            os.close(self._pipe)
        if self._child is not None:
            self._child.returncode = 0  # it is no child of this process
        self._pipe = self._child = None

    def _start(self) -> None:
        if "python" not in os.path.basename(sys.executable or "").lower():
            return  # Python is part of another program, and that would be started once more
        command = [sys.executable, "-I", "-S", countdown.__file__, str(os.getpid())]
        (reading, writing), (heard, said) = os.pipe(), os.pipe()
        try:
            self._child = subprocess.Popen(
                [*command, *(str(int(number)) for number in self._signals)], stdin=reading, stdout=said,
                stderr=subprocess.DEVNULL, start_new_session=True, cwd="/",
            )  # fmt: skip
            os.set_blocking(writing, False)
            threading.Thread(target=self._obey, args=(heard,), name="ckpt_callbacks", daemon=True).start()
            self._pipe = writing
        except (OSError, ValueError, RuntimeError) as error:  # no further process or thread is allowed
            os.close(writing)
            log.debug("the grace period is enforced by a thread alone: %s", error)
        finally:
            os.close(reading)
            os.close(said)

    def _send(self, command: bytes) -> bool:
        if self._pipe is None:
            return False
        try:
            return os.write(self._pipe, command) == len(command)
        except OSError:  # the child has ended
            return False

    def _restore_wakeup(self) -> None:
        with contextlib.suppress(ValueError):  # not on the main thread
            if (before := signal.set_wakeup_fd(-1)) not in (-1, self._pipe):
                signal.set_wakeup_fd(before)

    def _obey(self, descriptor: int) -> None:
        if number := os.read(descriptor, 1):
            end_process(128 + number[0])

    def _count(self, number: int, grace: float, armed: int) -> None:
        time.sleep(grace)
        if armed == self._armed:
            end_process(128 + number)


def end_process(code: int) -> None:
    """End this process now, as far as possible with what is still buffered for its standard streams."""
    flush()
    os._exit(code)


def flush() -> None:
    """Write what is buffered for the standard streams. If nobody reads them, give up after a moment."""
    done = _thread.allocate_lock()
    done.acquire()

    def write() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # closed, None, or without a reader
                stream.flush()
        done.release()

    with contextlib.suppress(RuntimeError):  # no thread can be started
        _thread.start_new_thread(write, ())
        done.acquire(timeout=_FLUSH)
