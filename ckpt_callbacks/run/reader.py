"""What people ask a callback about its run, the same in every framework."""

from __future__ import annotations

from ..policy.retention import Plan
from ..record import Record
from .run import Run


class ReadsRun:
    """Answers from the manifest, at any time: before `fit`, during it and after it."""

    _run: Run

    @property
    def dirpath(self) -> str:
        """The run directory."""
        return str(self._run.dirpath)

    def resume_path(self) -> str | None:
        """The newest checkpoint that a run can continue from and that verifies; None when there is none."""
        self._run.settle()
        record = next(self._run.resumable(), None)
        return str(record.path) if record else None

    def best(self) -> Record | None:
        """The best checkpoint (its file is ``.path``), or None before any finite value."""
        return self._refreshed().best()

    def last(self) -> Record | None:
        """The newest checkpoint, or None."""
        return self._refreshed().last()

    def final(self) -> Record | None:
        """The state when `fit` ended, or None."""
        return self._refreshed().final()

    def records(self) -> list[Record]:
        """All checkpoints of the run that are there, oldest first."""
        return self._refreshed().records()

    def wait(self) -> None:
        """Return when every save that was asked for is on the disk, or has failed."""
        self._run.wait()

    def plan(self) -> Plan:
        """Which checkpoints survive, and why."""
        return self._refreshed().plan()

    def _refreshed(self) -> Run:
        self._run.refresh()
        return self._run
