"""Who carries out a save: for now, the thread that asked for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Worker(Protocol):
    """Carries out jobs in the order in which they came. A job reports its own outcome and does not raise."""

    def submit(self, job: Callable[[], None]) -> None:
        """Take a job over."""

    def close(self) -> None:
        """Finish all jobs; later ones are refused."""


class InlineWorker:
    """Runs each job at once, on the caller's thread."""

    def submit(self, job: Callable[[], None]) -> None:
        job()

    def close(self) -> None:
        """Nothing is ever left to do."""
