"""The standard streams of a process that is about to end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable

_STREAMS = (1, 2)
_LOOK_EVERY = 0.05  # seconds
_PATIENCE = 4  # looks at which nothing could be written


def prepare() -> None:
    """Have SIGURG interrupt system calls, for `keep_writable`. Called on the main thread."""
    if signal.getsignal(signal.SIGURG) in (signal.SIG_DFL, signal.SIG_IGN):  # neither interrupts anything
        signal.signal(signal.SIGURG, lambda *_: None)


def keep_writable(is_ending: Callable[[], bool]) -> None:
    """Redirect the streams that nobody reads to the null device, so that no thread waits for them in vain.

    A thread that waits already is interrupted, and then continues with the null device.

    Args:
        is_ending: Returns False once this is no longer wanted.
    """
    refused = dict.fromkeys(_STREAMS, 0)
    while is_ending():
        for stream in _STREAMS:
            events = _events(stream)
            if events & (select.POLLERR | select.POLLHUP):
                _redirect(stream)  # it has no reader, which would change the exit code at the interpreter's end
            refused[stream] = 0 if events & (select.POLLOUT | select.POLLNVAL) else refused[stream] + 1
            if refused[stream] >= _PATIENCE:
                _redirect(stream)
                _interrupt_threads()
        time.sleep(_LOOK_EVERY)


def _events(stream: int) -> int:
    poll = select.poll()
    poll.register(stream, select.POLLOUT)
    return next((events for _, events in poll.poll(0)), 0)


def _redirect(stream: int) -> None:
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream)
        os.close(null)


def _interrupt_threads() -> None:
    for thread in list(sys._current_frames()):
        if thread != threading.get_ident():
            with contextlib.suppress(ProcessLookupError):
                signal.pthread_kill(thread, signal.SIGURG)
