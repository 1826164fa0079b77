"""The state of a training at one moment, as an adapter hands it to whoever writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..formats import Written


class Snapshot(Protocol):
    """A training's state, all of it from one moment.

    Attributes:
        live: Nothing was copied: `write` reads the training's own memory, and is called at once on its own thread.
    """

    live: bool

    def write(self, path: Path) -> Written:
        """Write the native file, or directory. May be called again after a failure; unless live, on any thread."""

    def release(self) -> None:
        """Nobody writes it any more; its memory may be used again. Called once."""


@dataclass(frozen=True)
class LiveSnapshot:
    """The training's own memory, for who cannot or will not copy it."""

    written: Callable[[Path], Written]
    live: bool = True

    def write(self, path: Path) -> Written:
        return self.written(path)

    def release(self) -> None:
        """Nothing was taken."""
