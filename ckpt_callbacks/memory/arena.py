"""The host memory that a snapshot is copied into: allocated once, then reused for each save."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Sequence

from ..errors import NotEnoughMemory
from .available import available_memory
from .pages import HUGE, address_of, allocate, exclude_from_forks, round_up

_PIECE = HUGE  # bytes touched at a time; a save that needs the arena waits for one of these
_LEFT_FREE = 256 << 20


class Arena:
    """One block of page-aligned memory, carved into pieces that each begin on a page.

    Fresh pages cost several times as much as copying into warm ones, so an arena keeps its memory until `release`. The
    caller ensures that the last snapshot has been written before the next one is copied in.
    """

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None
        self._touched = 0  # bytes, from the front, that `touch` has made warm

    @property
    def size(self) -> int:
        """Bytes of memory that are held."""
        return 0 if self._memory is None else len(self._memory)

    def carve(self, sizes: Sequence[int]) -> list[memoryview]:
        """Return writable pieces of these sizes in bytes.

        The arena grows when it is too small, which invalidates older pieces.

        Raises:
            NotEnoughMemory: The machine has too little left.
        """
        offsets, end = [], 0
        for size in sizes:
            offsets.append(end)
            end += round_up(size)
        self.reserve(end)
        self._touched = self.size  # the caller touches it; `touch` would erase data that stays here until the next save
        whole = memoryview(self._memory) if self._memory is not None else memoryview(b"")
        return [whole[offset : offset + size] for offset, size in zip(offsets, sizes, strict=True)]

    def reserve(self, size: int) -> None:
        """Hold at least ``size`` bytes. New memory is not touched here: threads that write to it do so faster together.

        Raises:
            NotEnoughMemory: The machine has too little left.
        """
        if size <= self.size:
            return
        self._memory, self._touched = None, 0  # first, so that old and new are never held together
        wanted, available = round_up(size, HUGE), available_memory()
        if available is not None and wanted > available - _LEFT_FREE:
            raise NotEnoughMemory(
                f"a snapshot needs {wanted >> 20} MiB of memory, and {available >> 20} MiB are available"
            )
        try:
            memory = allocate(wanted)
        except (OSError, ValueError, OverflowError) as error:
            raise NotEnoughMemory(f"a snapshot needs {wanted >> 20} MiB of memory: {error}") from error
        exclude_from_forks(memory)  # data loaders fork their workers, again at each epoch
        self._memory = memory

    def touch(self, go_on: Callable[[], bool]) -> None:
        """Make the memory warm for as long as ``go_on()`` returns True. This erases it.

        A later call continues from there. The interpreter's lock is held only briefly.
        """
        while self._memory is not None and self._touched < self.size and go_on():
            piece = min(_PIECE, self.size - self._touched)
            ctypes.memset(address_of(self._memory) + self._touched, 0, piece)
            self._touched += piece

    def release(self) -> None:
        """Return the memory to the system, once no piece of it is referenced."""
        self._memory, self._touched = None, 0
