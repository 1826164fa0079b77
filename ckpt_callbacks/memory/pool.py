"""The memory of all snapshots that one callback has at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from ..errors import NotEnoughMemory
from .arena import Arena


class ArenaPool:
    """One arena for each snapshot that waits to be written; each is used again once that is done.

    Args:
        make: A new arena.
    """

    def __init__(self, make: Callable[[], Arena] = Arena) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._free: list[Arena] = []
        self._keeps = True  # arenas that come back are kept

    def prepare(self, size: int) -> None:
        """Have the memory for one snapshot of so many bytes at hand; the first one would take longest for that.

        On any thread. Where the machine has too little memory, whoever takes the arena finds out.
        """
        with self._lock:  # who takes one meanwhile waits: fresh pages would take them as long
            arena = self._free.pop() if self._free else self._make()
            with contextlib.suppress(NotEnoughMemory):
                arena.reserve(size)
            self._free.append(arena)

    def take(self) -> Arena:
        """An arena that nobody else uses until it is given back."""
        with self._lock:
            self._keeps = True
            return self._free.pop() if self._free else self._make()

    def give_back(self, arena: Arena) -> None:
        """What is in it is not needed any more."""
        with self._lock:
            if self._keeps:
                self._free.append(arena)
                return
        arena.release()

    def release(self) -> None:
        """Give all memory back, also that of arenas that are given back later."""
        with self._lock:
            self._keeps = False
            arenas, self._free = self._free, []
        for arena in arenas:
            arena.release()
