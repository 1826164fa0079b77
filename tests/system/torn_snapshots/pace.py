"""The pace of writes that last for some steps of training, and the steps at which to save."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from ckpt_callbacks import EventKind, Every, KeepAll, Policy, Predicate
from ckpt_callbacks.formats import Written
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.run.snapshot import Snapshot
from ckpt_callbacks.run.source import Embedded
from ckpt_callbacks.runtime.clock import Alarm, Clock
from tests.support.training import saver_of, worker_of

BATCHES = 24  # of one epoch
SPAN = 3  # steps that a write lasts at the least
_LAST = (EventKind.END, EventKind.PREEMPT, EventKind.EXCEPTION)


class FastClock(Clock):
    """A clock that is a thousand times too fast, so that the run checks for save requests at each step."""

    def monotonic(self) -> float:
        return time.monotonic() * 1000

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """Return an alarm whose seconds have passed before a thread could wake."""
        alarm = Alarm(self.monotonic, ring)
        alarm.set = lambda moment: ring()
        return alarm


class Moments:
    """The times of saves: at random steps, some of them on demand, and at the ends of epochs.

    No two of them are so close that training would have to wait for the first one's file.
    """

    def __init__(self, saves: int, seed: int) -> None:
        drawn = random.Random(seed)
        self.by_rule: set[int] = set()
        self.on_demand: set[int] = set()
        self.epochs = -(-saves // 4) + 1
        for epoch in range(self.epochs):
            step = epoch * BATCHES
            for _ in range(3):
                step += drawn.randint(5, 6)
                drawn.choice((self.by_rule, self.on_demand)).add(step)

    @property
    def policy(self) -> Policy:
        return Policy(Every(epochs=1) | Predicate(lambda event: event.step in self.by_rule, "drawn"), KeepAll())

    def wish(self, dirpath: Path, step: int) -> None:
        """Request a save as `ckpt save` does, if one is to be requested now."""
        if step in self.on_demand:
            (dirpath / "SAVE_NOW").touch()


class Pace:
    """A delay of the worker until training has done some more steps, after which training waits for the worker.

    Attributes:
        spans: For each saved step, the number of steps trained until its file was written.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._step = 0
        self._saved_at: int | None = None  # the step whose file is being written
        self._finish = lambda: None  # waits for it
        self._free = False  # the training waits for the worker
        self.spans: dict[int, int] = {}

    def advance(self, step: int) -> None:
        """Note that training has done this step, and that all values are set to it."""
        with self._changed:
            self._step = step
            self._changed.notify_all()
        if self._saved_at is not None and step > self._saved_at + SPAN:
            self._saved_at = None
            self._finish()

    def reach(self, step: int) -> None:
        """Wait until training has reached a step, unless it has ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._free or self._step >= step, timeout=60), "training stands still"

    @contextmanager
    def slowing(self, run: Run) -> Iterator[None]:
        """Slow the run's writes."""
        ask, write = saver_of(run).save, os.pwrite
        slow: list[_Slow] = []  # the one that is being written

        def slowed_ask(save, event, measured, state, source, *tags):  # type: ignore[no-untyped-def]
            def snapshot(embedded: Embedded) -> Snapshot:
                with self._changed:
                    self._free = event.kind in _LAST
                taken, self._saved_at = source.snapshot(embedded), event.step
                return taken if taken.live else _Slow(taken, event.step, self, slow)

            with self._changed:
                self._free = bool(worker_of(run).waiting)
                self._changed.notify_all()
            paced = SimpleNamespace(snapshot=snapshot, metadata=source.metadata)
            ask(save, event, measured, state, paced, *tags)

        def slowed_write(*args):  # type: ignore[no-untyped-def]
            if slow and threading.current_thread() is not threading.main_thread():
                slow[0].piece()
            return write(*args)

        self._finish = worker_of(run).wait
        saver_of(run).save, os.pwrite = slowed_ask, slowed_write
        try:
            yield
        finally:
            os.pwrite = write


class _Slow:
    """A snapshot of which one piece is written per step."""

    live = False

    def __init__(self, snapshot: Snapshot, step: int, pace: Pace, slow: list[_Slow]) -> None:
        self._snapshot, self._step, self._pace, self._slow = snapshot, step, pace, slow
        self._pieces = 0

    def piece(self) -> None:
        self._pieces += 1
        self._pace.reach(self._step + min(self._pieces, SPAN))

    def write(self, path: Path) -> Written:
        self._slow[:] = [self]
        try:
            self.piece()  # write nothing before everything has changed
            written = self._snapshot.write(path)
            self._pace.reach(self._step + SPAN)
        finally:
            self._slow.clear()
        self._pace.spans[self._step] = self._pace._step - self._step
        return written

    def release(self) -> None:
        self._snapshot.release()
