"""What is asked of a running training from outside: to save, or to save and end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..runtime.clock import Clock
from ..runtime.processes import Peers
from ..runtime.signals import Interrupts

_ASK_EVERY = 0.5  # seconds between two looks at the disk


class Requests:
    """Signals, and a file that says that somebody wishes a checkpoint.

    Args:
        save_now: The file. grace: see `Interrupts`. clock: says when to look at the disk again.
        ring: Called when a signal comes.

    Attributes:
        save: Somebody wishes a save that is not made yet. again_at: The step before which it is not tried again.
    """

    def __init__(self, save_now: Path, grace: float, clock: Clock, ring: Callable[[], None]) -> None:
        self._save_now, self._clock = save_now, clock
        self._interrupts = Interrupts(grace, ring)
        self._looked_at = 0.0
        self._wished_at = 0  # when the file was touched, in nanoseconds
        self._told: signal.Signals | None = None  # the signal that all processes know of
        self.save, self.again_at = False, 0

    @property
    def next_look(self) -> float:
        """When to look at the disk again, by the clock's monotonic seconds."""
        return self._looked_at + _ASK_EVERY

    def expect_signals(self, peers: Peers) -> None:
        """Begin to listen for signals."""
        self._interrupts.install(peers.chained)

    def listen(self, peers: Peers, landed: int) -> bool:
        """Find out what is asked now; what one process was told, all know then. All of them call it together.

        Args:
            peers: The processes. landed: how many saves this one knows to have landed.

        Returns:
            Any process knows of one.
        """
        asked, number, landed = peers.agree(self._is_wished(peers), self._interrupts.pending or 0, landed)
        self.save = self.save or asked
        self._told = signal.Signals(number) if number else None
        return landed > 0

    def end(self, peers: Peers) -> bool:
        """A signal asks the training to end."""
        return (self._interrupts.pending if peers.alone else self._told) is not None

    def fulfilled(self, peers: Peers) -> None:
        """The save was made."""
        self.save, self.again_at = False, 0
        if peers.leader:
            with contextlib.suppress(OSError):
                if os.stat(self._save_now).st_mtime_ns == self._wished_at:  # else it is another wish, for a later state
                    self._save_now.unlink()

    def end_process(self, number: signal.Signals | None = None) -> NoReturn:
        """End as the signal asks: the one that is known, or ``number``."""
        number = number or self._interrupts.pending or self._told
        assert number is not None
        self._interrupts.end_process(number)

    def close(self) -> signal.Signals | None:
        """Listen no more. Returns the signal that came, if one did."""
        self._interrupts.remove()
        number = self._interrupts.pending
        self._interrupts.forget()
        return number

    def _is_wished(self, peers: Peers) -> bool:
        # A look at the disk now and then, not at each step.
        now = self._clock.monotonic()
        if not peers.leader or now < self.next_look:
            return False
        self._looked_at = now
        if self.save:
            return False
        try:
            self._wished_at = os.stat(self._save_now).st_mtime_ns
        except OSError:  # it is not there, or the disk is broken
            return False
        return True
