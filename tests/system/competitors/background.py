"""A hook before each background write, of this package or of Lightning's plugin."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.plugins.io import AsyncCheckpointIO

from tests.support.training import run_of, saver_of

Before = Callable[[int], object]  # is called with the step of the file


class Writes:
    """The writes of one training run.

    Args:
        before: Called on the writing thread, before each write.

    Attributes:
        asked: The number of snapshots that were taken.
        done: The number that were written, or failed.
        most: The largest number of snapshots that were held at once.
    """

    def __init__(self, before: Before) -> None:
        self.before, self.asked, self.done, self.most = before, 0, 0, 0

    def taken(self) -> None:
        self.asked += 1
        self.most = max(self.most, self.asked - self.done)

    def wait(self) -> None:
        """Wait until no snapshot is held any more."""
        wait_for(lambda: self.asked == self.done)

    def of_ours(self, callback: Any) -> Any:
        """Watch this package's callback, and return it."""
        ask = saver_of(run_of(callback)).save

        def watched(save: Any, event: Any, measured: Any, state: Any, source: Any, *tags: Any) -> None:
            def snapshot(embedded: Any) -> Any:
                taken = _Watched(source.snapshot(embedded), event.step, self)
                self.taken()
                return taken

            seen = SimpleNamespace(snapshot=snapshot, metadata=source.metadata)
            ask(save, event, measured, state, seen, *tags)

        saver_of(run_of(callback)).save = watched
        return callback

    def plugin(self) -> AsyncCheckpointIO:
        """Return Lightning's plugin, watched."""
        writes = self

        class Inner(TorchCheckpointIO):
            def save_checkpoint(self, checkpoint: Any, *args: Any, **given: Any) -> None:
                try:
                    writes.before(checkpoint["global_step"])
                    super().save_checkpoint(checkpoint, *args, **given)
                finally:
                    writes.done += 1

        class Outer(AsyncCheckpointIO):
            def save_checkpoint(self, *args: Any, **given: Any) -> None:
                writes.taken()
                super().save_checkpoint(*args, **given)

        return Outer(Inner())


class _Watched:
    """A watched snapshot of this package."""

    def __init__(self, snapshot: Any, step: int, writes: Writes) -> None:
        assert not snapshot.live
        self.live, self._snapshot, self._step, self._writes = False, snapshot, step, writes

    def write(self, path: Path) -> Any:
        self._writes.before(self._step)
        return self._snapshot.write(path)

    def release(self) -> None:
        self._snapshot.release()
        self._writes.done += 1


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition holds, or until the time is over."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
