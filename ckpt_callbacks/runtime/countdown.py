"""The process that ends another one some time after a signal; `Watchdog` runs this file as a script.

It reads what ``signal.set_wakeup_fd`` writes, which happens in C as soon as the signal arrives, regardless of what the
other process does: its main thread may be in a call that never returns to Python, and may hold the GIL.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Sequence

GRACE = struct.Struct("=Bd")  # a command: the byte 255, and the seconds from a signal to the end
ARM = struct.Struct("=BB")  # a command: the byte 254, and a signal that has arrived
_AT_ONCE = 1.0  # seconds from a second signal to the end
_PATIENCE = 0.7  # seconds for a thread of a busy process to do it
_LESS_PATIENCE = 0.3  # seconds for the signal to do it


class Countdown:
    """The time until the end.

    Args:
        signals: Those that start the countdown.

    Attributes:
        number: The signal that has arrived; 0 before.
        end: When the time is over, on the monotonic clock.
    """

    def __init__(self, signals: Sequence[int]) -> None:
        self._signals, self._rest, self._grace, self._heard = signals, b"", float("inf"), 0
        self.number, self.end = 0, float("inf")

    def read(self, data: bytes) -> None:
        """Take bytes as they come from the pipe."""
        rest = self._rest + data
        while rest:
            command = {255: GRACE, 254: ARM}.get(rest[0])
            size = command.size if command is not None else 1
            if len(rest) < size:
                break
            if command is GRACE:
                self._grace, self.number, self.end = GRACE.unpack(rest[:size])[1], 0, float("inf")
                self._heard = 0
            elif command is ARM:
                self._start(rest[1])
            elif rest[0] in self._signals:
                self._start(rest[0])
                self._heard += 1
                if self._heard > 1 and self.number:
                    self.end = min(self.end, time.monotonic() + _AT_ONCE)
            rest = rest[size:]
        self._rest = rest

    def _start(self, number: int) -> None:
        if not self.number and self._grace < float("inf"):
            self.number, self.end = number, time.monotonic() + self._grace


def main(parent: int, signals: Sequence[int]) -> None:
    """Wait for a signal to the parent, and end it in time; return when it has ended.

    Args:
        parent: The process that is watched.
        signals: The signals that ask it to end.
    """
    for number in (*signals, signal.SIGHUP):  # some systems signal each process of a job
        signal.signal(number, signal.SIG_IGN)
    countdown = Countdown(signals)
    while (left := countdown.end - time.monotonic()) > 0:
        if _is_readable(min(left, 3600.0)):
            if not (data := os.read(0, 4096)):
                return
            countdown.read(data)
    with contextlib.suppress(OSError):
        os.write(1, bytes([countdown.number]))  # a thread of the parent ends it with the right exit code, if it can
        for patience, harsher in ((_PATIENCE, countdown.number), (_LESS_PATIENCE, signal.SIGKILL)):
            until = time.monotonic() + patience
            while (left := until - time.monotonic()) > 0:
                if _is_readable(left) and not os.read(0, 4096):
                    return
            if os.getppid() != parent:
                return
            os.kill(parent, harsher)


def _is_readable(seconds: float) -> bool:
    return bool(select.select([0], [], [], seconds)[0])


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(number) for number in sys.argv[2:]])
