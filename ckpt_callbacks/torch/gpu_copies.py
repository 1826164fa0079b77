"""Copies from CUDA devices into host memory, made while training's own kernels run."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Collection

import torch

from ..memory.arena import Arena
from ..memory.pages import address_of
from ..memory.parallel_copy import populate


class PinnedArena(Arena):
    """An arena of pinned memory, into which a device can copy without the CPU.

    Attributes:
        kept: An object that the user of the arena keeps from save to save. It is dropped before the memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: object = None
        self._pinned: int | None = None  # the address of the memory that is registered with CUDA

    def pin(self) -> None:
        """Pin the memory, once. If CUDA refuses, copies are still correct, but the caller has to wait for them."""
        if self._pinned is None and self._memory is not None:
            address = address_of(self._memory)
            # Otherwise, CUDA would touch the cold pages itself, one after the other.
            populate(address, self.size)
            if int(torch.cuda.cudart().cudaHostRegister(address, self.size, 0)) == 0:
                self._pinned = address
            else:
                forget_refusal()

    def reserve(self, size: int) -> None:
        if size > self.size:
            self.kept = None
            self._unpin()
        super().reserve(size)

    def release(self) -> None:
        self.kept = None
        self._unpin()
        super().release()

    def _unpin(self) -> None:
        if self._pinned is not None:
            torch.cuda.cudart().cudaHostUnregister(self._pinned)
            self._pinned = None


def forget_refusal() -> None:
    """Clear this thread's last CUDA error; otherwise torch would raise it at its next kernel."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # torch has not loaded CUDA's symbols globally
        ctypes.CDLL(None).cudaGetLastError()


class DeviceCopies:
    """The copies of one snapshot, on a separate stream for each device.

    Args:
        step_only: Addresses of the storages that only an optimizer step changes. They are copied during the next
            forward and backward pass; all others are copied in order with training's own kernels.
    """

    def __init__(self, step_only: Collection[int]) -> None:
        self._step_only = step_only
        self._streams: dict[torch.device, torch.cuda.Stream] = {}
        self._events: list[tuple[torch.device, torch.cuda.Event]] = []
        self._sources: list[torch.UntypedStorage] = []  # kept alive until they are copied

    def add(self, storage: torch.UntypedStorage, into: memoryview) -> None:
        """Launch the copy of a storage.

        Args:
            storage: The storage, on a device.
            into: Host memory of its size.
        """
        source, device = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage), storage.device
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream(device)
            self._streams[device].wait_stream(torch.cuda.current_stream(device))
        overlaps = storage.data_ptr() in self._step_only
        with torch.cuda.stream(self._streams[device]) if overlaps else contextlib.nullcontext():
            torch.frombuffer(into, dtype=torch.uint8).copy_(source, non_blocking=True)
        self._sources.append(storage)

    def mark_end(self) -> None:
        """Mark the end of all copies, after the last one was added."""
        for device, stream in self._streams.items():
            self._events += [(device, s.record_event()) for s in (stream, torch.cuda.current_stream(device))]

    def hold_back(self) -> None:
        """Make every later kernel of training run after the copies, without waiting here."""
        for device, event in self._events:
            torch.cuda.current_stream(device).wait_event(event)

    def finish(self) -> None:
        """Wait for all copies."""
        for _, event in self._events:
            event.synchronize()
        self._sources.clear()
