"""Uploads of run directories whose checkpoints are large enough to be disturbed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ckpt_callbacks.mirrors.mirroring import Mirroring
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.restoring import download
from ckpt_callbacks.mirrors.source import MirroredRun
from ckpt_callbacks.policy.mirror import Mirror
from ckpt_callbacks.remote.url import open_store
from ckpt_callbacks.store.digest import verify
from tests.mirrors.runs import SmallRun
from tests.system.mirrors.places import Place

PART = 5 << 20  # S3 refuses smaller ones


class Uploads:
    """A run directory, and a mirror that a proxy may lead to.

    Args:
        place: The place itself.
        there: The place as the mirror reaches it.
        dirpath: The run directory.
        patience: Seconds for which a request is tried again.
        **arguments: Of the `Mirror`.

    Attributes:
        run: The run.
        mirror: What sends its checkpoints.
    """

    def __init__(self, place: Place, there: Place, dirpath: Path, patience: float = 1.0, **arguments) -> None:
        self._place, self._folder = place, dirpath.parent
        self.run = SmallRun(dirpath)
        mirror = Mirror(there.url, storage_options=there.options, **arguments)
        source = MirroredRun(self.run.manifest, self.run.records, self.run.policy, "lightning")
        self.mirror = Mirroring(mirror, open_store(there.url, there.options), source, patience, part=PART)

    def begin(self) -> None:
        """Begin to send."""
        self.mirror.start()

    def complete(self, patience: float = 40) -> None:
        """Wait until everything has arrived, and require that it is whole, and that nothing local has changed."""
        assert self.mirror.finish(patience)
        found, here = self.whole(), [record.id for record in self.run.records()]
        assert here[-1] in found and found <= set(here)
        for record in self.run.records():
            verify(record)

    def whole(self) -> set[int]:
        """Return the ids of the checkpoints that a reader sees, all of which must be whole."""
        store = open_store(self._place.url, self._place.options)
        catalog, _ = read_catalog(store)
        for entry in catalog.entries if catalog else ():
            target = self._folder / "downloaded"
            download(store, entry, target)
            target.unlink()
        return {record.id for record in catalog.records} if catalog else set()


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def warnings(caplog) -> list[str]:
    """Return the lines that the package has logged as warnings."""
    found = [one for one in caplog.records if one.levelno >= logging.WARNING and one.name == "ckpt_callbacks"]
    return [one.getMessage() for one in found]


def later(seconds: float, work: Callable[[], object]) -> threading.Thread:
    """Do something later, on a thread."""

    def wait() -> None:
        time.sleep(seconds)
        work()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread
