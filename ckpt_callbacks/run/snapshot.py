"""The state of a training run at one moment, which an adapter provides for writing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..formats import Written


class Snapshot(Protocol):
    """A training run's state, all of it from one moment.

    Attributes:
        live: True if nothing was copied: `write` reads the training run's own memory, so it is called at once and on
            the training thread.
    """

    @property
    def live(self) -> bool: ...

    def write(self, path: Path) -> Written:
        """Write the native file or directory. Called again after a failure; unless live, on any thread."""

    def release(self) -> None:
        """Release the memory. Called once, after the last `write`."""


@dataclass(frozen=True)
class LiveSnapshot:
    """A snapshot that reads the training run's own memory instead of a copy.

    Attributes:
        writer: Writes the file at the given path.
    """

    writer: Callable[[Path], Written]
    live: bool = True

    def write(self, path: Path) -> Written:
        return self.writer(path)

    def release(self) -> None:
        """Do nothing: no memory was taken."""
