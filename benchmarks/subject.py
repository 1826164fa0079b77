"""One saving method, as the benchmarks measure it in any framework."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import probes

OURS, PEER, LIMIT = "ours", "peer", "limit"


class Enough(Exception):
    """Raised to end a fit when everything has been measured."""


class NotInstalled(Exception):
    """Raised if the package that a saving method needs is missing."""


class Subject:
    """One saving method, as a callback of a real fit.

    Attributes:
        name: Its name in the tables.
        role: ``ours`` (this package), ``peer`` or ``limit``.
        fsyncs: Whether it forces its files to the disk itself.
        hook: The method of the callback that saves.
        callback: The framework's callback, or None.
        folder: The folder that it writes to.
        every: The number of steps between saves.
        step: The number of steps done at its last save.
    """

    name = "no checkpointing"
    role = LIMIT
    fsyncs = True
    hook = ""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every, self.callback, self.step = folder, every, None, 0

    def landed(self) -> bool:
        """Return whether the last save was written (with this package: also verified)."""
        return True

    def at(self, step: int) -> None:
        """Note that the hook is called after ``step`` steps."""
        if step and step % self.every == 0:
            self.step = step

    def wait(self) -> None:
        """Wait until the last save has landed."""
        while not self.landed():
            time.sleep(0.002)

    def tidy(self) -> None:
        """Delete files older than the last save, if the subject does not do that itself."""

    def timings(self) -> dict[str, float]:
        """Return the seconds from the start of the last save to ``written`` and ``verified``, if reported."""
        return {}


class ReportsItself:
    """A mixin for this package's callbacks, which report the timings of their last save."""

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
    """Measure one save while training waits for it to land: seconds, CPU seconds of all threads, and bytes of memory.

    ``written`` is when the write returned. ``durable`` is when the file was forced to the disk, by the benchmark if the
    subject does not do that itself. ``verified`` is when the file was read back.
    """
    before = probes.resident()
    probes.forget_peak()
    cpu, start = time.process_time(), time.perf_counter()
    save()
    blocked = time.perf_counter() - start
    subject.wait()
    landed = time.perf_counter() - start
    cpu = time.process_time() - cpu
    result = {"blocked": blocked, "written": landed, "cpu": cpu, "before": before, "peak": probes.peak()}
    timings = subject.timings()
    subject.tidy()
    if subject.role == OURS:
        # Without the timings of the record, only the end of the whole save is known.
        return {
            **result,
            "written": None,
            "durable": timings.get("written"),
            "verified": timings.get("verified", landed),
        }
    if not subject.fsyncs:
        begin = time.perf_counter()
        probes.force_to_disk(subject.folder)
        landed += time.perf_counter() - begin
    return {**result, "durable": landed, "verified": None}
