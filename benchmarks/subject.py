"""One way of saving that is measured: what its own parts have in common, whatever the framework."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure

OURS, PEER, LIMIT = "ours", "peer", "limit"
PIECE = 8 * 2**20


class Enough(Exception):
    """What a fit was run for has been measured."""


class NotInstalled(Exception):
    """The package that this way of saving needs is not there."""


class Subject:
    """One way of saving, as a callback of a real fit.

    Attributes:
        name: As in the tables.
        role: ``ours``, ``peer`` or ``limit``.
        fsyncs: It forces its files to the disk itself.
        hook: The callback's method in which it saves.
        callback: The framework's callback, or None.
        folder: Where it writes.
        every: Steps from one save to the next.
        step: Steps done at its last save.
    """

    name = "no checkpointing"
    role = LIMIT
    fsyncs = True
    hook = ""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every, self.callback, self.step = folder, every, None, 0

    def landed(self) -> bool:
        """The last save has been written (ours: is verified too)."""
        return True

    def at(self, step: int) -> None:
        """Its hook is called after so many steps."""
        if step and step % self.every == 0:
            self.step = step

    def wait(self) -> None:
        """Returns once the last save has landed."""
        while not self.landed():
            time.sleep(0.002)

    def tidy(self) -> None:
        """Deletes what is older than the last save, where the subject does not do that itself."""

    def timings(self) -> dict[str, float]:
        """Seconds from the last save's beginning, as its maker tells them: ``written``, ``verified``; may be empty."""
        return {}


class TellsItself:
    """What our callbacks, whatever the framework, tell of their last save."""

    role = OURS
    callback: Any
    step: int

    def wait(self) -> None:
        self.callback.wait()

    def landed(self) -> bool:
        last = self.callback.last()
        return last is not None and last.step == self.step

    def timings(self) -> dict[str, float]:
        return dict(self.callback.last().timings)


def measured(subject: Subject, save: Callable[[], object]) -> dict[str, float | None]:
    """One save, while the training waits for it to land: seconds, CPU seconds of all threads, bytes of memory.

    ``written`` is when the write had returned, ``durable`` when it was forced to the disk as well (by the benchmark,
    where the subject does not), ``verified`` when it had been read back.
    """
    before = measure.resident()
    measure.forget_peak()
    cpu, start = time.process_time(), time.perf_counter()
    save()
    blocked = time.perf_counter() - start
    subject.wait()
    landed = time.perf_counter() - start
    cpu = time.process_time() - cpu
    result = {"blocked": blocked, "written": landed, "cpu": cpu, "before": before, "peak": measure.peak()}
    told = subject.timings()
    subject.tidy()
    if subject.role == OURS:
        # Without the figures of the record itself, only the moment is known when all was done.
        return {**result, "written": None, "durable": told.get("written"), "verified": told.get("verified", landed)}
    if not subject.fsyncs:
        begin = time.perf_counter()
        measure.force_to_disk(subject.folder)
        landed += time.perf_counter() - begin
    return {**result, "durable": landed, "verified": None}


def warm_memory(size: int) -> mmap.mmap:
    """Memory of at least so many bytes that has been touched, in huge pages where the system gives them."""
    memory = mmap.mmap(-1, -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    for start in range(0, len(memory), mmap.PAGESIZE):
        memory[start] = 1
    return memory


class RawFile:
    """Writes as many bytes as a state has past the page cache: nothing that ends up on this disk can be faster.

    Where the file system refuses ``O_DIRECT``, the bytes go through the page cache.
    """

    def __init__(self, size: int) -> None:
        self._memory = warm_memory(size)

    def write(self, path: Path) -> None:
        staged = path.with_suffix(".staged")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            descriptor = os.open(staged, flags | getattr(os, "O_DIRECT", 0))
        except OSError:
            descriptor = os.open(staged, flags)
        view = memoryview(self._memory)
        try:
            for start in range(0, len(self._memory), PIECE):
                os.pwrite(descriptor, view[start : start + PIECE], start)
            os.fsync(descriptor)
        finally:
            view.release()
            os.close(descriptor)
        os.replace(staged, path)
