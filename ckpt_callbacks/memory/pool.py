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
        self._preparing: _Preparation[_A] | None = None

    def prepare(self, size: int) -> None:
        """Begin to make memory for one snapshot of ``size`` bytes warm, on a separate thread.

        If `take` is called in the meantime, it returns this arena, with as much warm memory as there is. If the machine
        has too little memory, the save that takes the arena fails.
        """
        arena = self.take()
        preparation = _Preparation(arena, size, self.give_back)
        with self._lock:  # so that no other thread waits for one that has not been started
            try:
                preparation.start()
            except RuntimeError:  # no thread can be started
                self._free.append(arena)
            else:
                self._preparing = preparation

    def take(self) -> _A:
        """Return an arena that has no other user until it is given back.

        This does not wait until the memory is warm: a copy by many threads makes it warm sooner.
        """
        self._stop_preparing()
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
            if self._preparing is not None:
                self._preparing.hurry.set()
        for arena in arenas:
            arena.release()

    def _stop_preparing(self) -> None:
        with self._lock:
            preparing, self._preparing = self._preparing, None
        if preparing is not None:
            preparing.hurry.set()
            preparing.join()


class _Preparation(threading.Thread, Generic[_A]):
    """A thread that makes an arena's memory warm until ``hurry`` is set, and then gives the arena back."""

    def __init__(self, arena: _A, size: int, done: Callable[[_A], None]) -> None:
        super().__init__(name="ckpt_memory", daemon=True)
        self._arena, self._size, self._done = arena, size, done
        self.hurry = threading.Event()

    def run(self) -> None:
        try:
            with contextlib.suppress(NotEnoughMemory):
                self._arena.reserve(self._size)
            self._arena.touch(lambda: not self.hurry.is_set())
        finally:
            self._done(self._arena)
