"""The room that the checkpoints of a training run take: what the rules and the budget leave of them, and when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..record import Record
from . import pruning
from .leftovers import Leftovers
from .thinning import Thinning
from .total_size import TotalSize
from .view import RunView


class Room:
    """Deletes and rewrites checkpoints of one training run, as its policy and its budget say.

    Args:
        dirpath: The run directory, for messages.
        view: The run's checkpoints, with a policy.
        leftovers: Deletes the files.
        thinning: Rewrites checkpoints that hold more than anything needs of them.
        may_delete: Returns whether the rules may delete checkpoints now.
    """

    def __init__(
        self, dirpath: Path, view: RunView, leftovers: Leftovers, thinning: Thinning, may_delete: Callable[[], bool]
    ) -> None:
        self._view, self._leftovers, self._thinning, self._may_delete = view, leftovers, thinning, may_delete
        self._total = TotalSize(dirpath, view)

    def check(self, name: str) -> None:
        """Refuse a budget that is smaller than one of the run's checkpoints; see `TotalSize.check`."""
        self._total.check(name)

    def after_save(self) -> None:
        """Delete what no retention rule keeps, or the budget does not, and begin to rewrite what is due."""
        if self._may_delete():
            self._await_thinning()
            self._fit()
            self._thinning.begin()

    def before_save(self, draft: Record) -> None:
        """Delete what has to go so that a save, of which ``draft`` is the record, fits into the budget."""
        if not self._may_delete():
            return
        incoming = self._total.expected(draft)
        self._await_thinning(incoming)
        self._fit(incoming)

    def at_end(self) -> None:
        """Rewrite all that is due, and end the thread that does so. The budget holds for what comes of it, too."""
        self._thinning.finish()
        if self._view.has_budget and self._may_delete():  # shards may take more than the file that they were
            self._fit()

    def _await_thinning(self, incoming: int = 0) -> None:
        if self._view.has_budget and self._view.fitted(incoming).gone:
            self._thinning.wait()  # what is reduced may fit

    def _fit(self, incoming: int = 0) -> None:
        pruning.prune(self._view, self._leftovers, incoming)
        self._total.report(incoming)
