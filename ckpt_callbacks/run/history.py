"""What a run directory holds, as the manifest tells it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import VerifyError
from ..policy.policy import Policy
from ..policy.ranking import best_record, final_record, last_record
from ..policy.retention import Plan, plan
from ..record import Record
from ..store.digest import verify
from ..store.manifest import Manifest

log = logging.getLogger("ckpt_callbacks")


class History:
    """The checkpoints of one run directory, seen through a policy. Reads only, and needs no lock.

    Args:
        dirpath: The run directory, which need not exist. policy: says what is best, and what is kept.

    Attributes:
        manifest: The directory's manifest.
    """

    def __init__(self, dirpath: Path, policy: Policy) -> None:
        self.dirpath, self.policy = dirpath, policy
        self.manifest = Manifest(dirpath)
        self._run_id = ""
        self._damaged: dict[int, VerifyError] = {}  # what was found not to verify, by id

    def refresh(self) -> None:
        """Read the manifest again."""
        self.manifest.refresh()

    @property
    def run_id(self) -> str:
        """The run that is going on, else the newest one that the directory knows."""
        return self._run_id or self.manifest.newest_run

    def records(self) -> list[Record]:
        """This run's verified records that have a file, oldest first."""
        return [r for r in self.manifest.verified(self.run_id) if r.id not in self._damaged]

    def last(self) -> Record | None:
        """The newest checkpoint of the run, or None."""
        return last_record(self.records())

    def best(self) -> Record | None:
        """The best checkpoint of the run, or None before any finite value."""
        return best_record(self.records(), self.policy.best_metric)

    def final(self) -> Record | None:
        """The state when the last `fit` ended, or None."""
        return final_record(self.records())

    def plan(self) -> Plan:
        """What survives now, and why."""
        return plan(self.policy.keep, self.records(), best=self.policy.best_metric)

    def resumable(self) -> Iterator[Record]:
        """Records that a run can continue from, newest first, each verified just before it is given out.

        What does not verify is skipped with a warning that says why.
        """
        self.manifest.refresh()
        for problem in self.manifest.problems:
            log.warning("%s", problem)
        self.manifest.problems.clear()
        for record in sorted(self.manifest.live(), key=lambda r: r.id, reverse=True):
            if not record.resumable or record.superseded:
                continue
            begun = time.perf_counter()
            try:
                verify(record)
            except VerifyError as error:
                log.warning("skipped, and looking for an older one: %s", error)
                self._damaged[record.id] = error
                continue
            self._damaged.pop(record.id, None)  # it could not be read before
            log.info("%s: verified in %.2f s", record.path, time.perf_counter() - begun)
            yield record

    def find(self, path: str | Path) -> Record | None:
        """The live record of the checkpoint at ``path``, if it is one of this directory."""
        wanted = Path(path).resolve()
        return next((r for r in self.manifest.live() if r.path.resolve() == wanted), None)
