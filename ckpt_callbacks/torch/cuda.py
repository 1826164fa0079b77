"""Copies from CUDA devices into host memory, beside the training's own kernels."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Collection

import torch

from ..memory.arena import Arena


class PinnedArena(Arena):
    """An arena that a device can copy into on its own."""

    def __init__(self) -> None:
        super().__init__()
        self._pinned: int | None = None  # where the memory lies that CUDA was told of

    def pin(self) -> None:
        """Tell CUDA of the memory, once. Where it refuses, copies are right all the same, but are waited for."""
        if self._pinned is None and self._memory is not None:
            address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
            if int(torch.cuda.cudart().cudaHostRegister(address, self.size, 0)) == 0:
                self._pinned = address
            else:
                forget_refusal()

    def reserve(self, size: int) -> None:
        if size > self.size:
            self._unpin()
        super().reserve(size)

    def release(self) -> None:
        self._unpin()
        super().release()

    def _unpin(self) -> None:
        if self._pinned is not None:
            torch.cuda.cudart().cudaHostUnregister(self._pinned)
            self._pinned = None


def forget_refusal() -> None:
    """A refusal stays this thread's last CUDA error, which torch would raise at its next kernel as that one's own."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # torch has not loaded CUDA for all to use
        ctypes.CDLL(None).cudaGetLastError()


class DeviceCopies:
    """The copies of one snapshot, on a stream of their own for each device.

    Args:
        steady: Addresses of the storages that only an optimizer step changes. The next forward and backward run while
            they are copied; all others are copied in the order of the training's own kernels.
    """

    def __init__(self, steady: Collection[int]) -> None:
        self._steady = steady
        self._streams: dict[torch.device, torch.cuda.Stream] = {}
        self._events: list[tuple[torch.device, torch.cuda.Event]] = []
        self._sources: list[torch.UntypedStorage] = []  # their memory may not be used again before they are copied

    def add(self, storage: torch.UntypedStorage, into: memoryview) -> None:
        """Copy a storage into host memory of its size."""
        source, device = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage), storage.device
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream(device)
            self._streams[device].wait_stream(torch.cuda.current_stream(device))
        beside = storage.data_ptr() in self._steady
        with torch.cuda.stream(self._streams[device]) if beside else contextlib.nullcontext():
            torch.frombuffer(into, dtype=torch.uint8).copy_(source, non_blocking=True)
        self._sources.append(storage)

    def launched(self) -> None:
        """All were added."""
        for device, stream in self._streams.items():
            self._events += [(device, s.record_event()) for s in (stream, torch.cuda.current_stream(device))]

    def hold_back(self) -> None:
        """Whatever the training launches from now on runs after the copies. The caller does not wait."""
        for device, event in self._events:
            torch.cuda.current_stream(device).wait_event(event)

    def finish(self) -> None:
        """Wait until everything has arrived."""
        for _, event in self._events:
            event.synchronize()
        self._sources.clear()
