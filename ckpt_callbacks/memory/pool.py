"""The arenas of all the snapshots that one callback holds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ..errors import NotEnoughMemory
from .arena import Arena

_A = TypeVar("_A", bound=Arena)


class ArenaPool(Generic[_A]):
    """A pool with one arena for each snapshot that waits to be written, reused once it is.

    Args:
        make: Creates an arena.
    """

    def __init__(self, make: Callable[[], _A]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._free: list[_A] = []
        self._keeps = True  # returned arenas are kept

    def prepare(self, size: int) -> None:
        """Allocate memory for one snapshot of ``size`` bytes in advance, because this would delay the first save most.

        May be called on any thread. If the machine has too little memory, the save that takes the arena fails.
        """
        with self._lock:  # a save in the meantime waits, because fresh pages would take just as long
            arena = self._free.pop() if self._free else self._make()
            with contextlib.suppress(NotEnoughMemory):
                arena.reserve(size)
            self._free.append(arena)

    def take(self) -> _A:
        """Return an arena that has no other user until it is given back."""
        with self._lock:
            self._keeps = True
            return self._free.pop() if self._free else self._make()

    def give_back(self, arena: _A) -> None:
        """Return an arena whose content is no longer needed."""
        with self._lock:
            if self._keeps:
                self._free.append(arena)
                return
        arena.release()

    def release(self) -> None:
        """Release all memory, including that of arenas that are given back later."""
        with self._lock:
            self._keeps = False
            arenas, self._free = self._free, []
        for arena in arenas:
            arena.release()
