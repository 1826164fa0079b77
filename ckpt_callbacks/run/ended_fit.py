"""The checkpoints of an earlier fit, as they were when it ended."""

from __future__ import annotations

from ..policy.lineage import ancestors
from ..record import Record
from .view import RunView


class EndedFit(RunView):
    """The view of a run at the end of a fit that an earlier start of the script has completed.

    Later fits may have continued its run, or begun another one, which superseded its checkpoints.

    Args:
        view: The view of the run directory, whose run is the fit's.
        fit: The number of the fit.
    """

    def __init__(self, view: RunView, fit: int) -> None:
        super().__init__(view.manifest, view.policy, view.max_total_size)
        self.current, self.damaged, self.missing, self._fit = view.run_id, view.damaged, view.missing, fit

    def records(self) -> list[Record]:
        """Return those of the fit's verified records whose files still exist, oldest first."""
        run, records = self.run_id, list(self.manifest.records.values())
        newest = max((record.attempt for record in records if record.run == run and record.fit <= self._fit), default=1)
        line = ancestors(records, self.manifest.attempts, run, newest)
        found = [record for record in super().records() if record.fit <= self._fit]
        return [record.replace(superseded=record.id not in line) for record in found]
