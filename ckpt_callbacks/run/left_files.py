"""The files that a framework's own callback has left in the directory of a drop-in."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import first_line
from ..record import Attempt, Record, Status
from ..recovery.adoption import Adoption
from ..runtime.worker import BackgroundWorker
from ..store.identity import identity
from ..store.manifest import Manifest

log = logging.getLogger("ckpt_callbacks")

_PATIENCE = 10.0  # seconds for which the end of a fit waits


class LeftFiles:
    """Records them. All their bytes are read for that, on a thread of its own, which no save waits for.

    What is not done at the end of the fit, `ckpt adopt` or the next start of training does.

    Args:
        manifest: The run directory's manifest.
        note: Called with each record, once it is in the manifest.

    Attributes:
        wanted: Whether they get records. Not if the original itself takes part, because it may be writing them.
        loaded: The file from which training continues; None if from none.
    """

    def __init__(self, manifest: Manifest, note: Callable[[Record], object]) -> None:
        self._manifest, self._note, self._worker = manifest, note, BackgroundWorker()
        self.wanted = False
        self.loaded: Path | None = None
        self._found: Adoption | None = None  # until they are being read
        self._until = math.inf  # when to stop

    def find(self, begun: Attempt) -> Attempt:
        """Find them, and return a start of training, with its parent if it continues from one of them.

        Args:
            begun: The start, which is not in the manifest yet.
        """
        if not self.wanted:
            return begun
        try:
            found = Adoption(self._manifest, thoroughly=False)
            if found.records:
                begun = found.precede(begun, self.loaded)
                self._found = found
        except Exception as error:  # whatever a damaged file raises: training goes on without records of them
            log.warning("%s: its older files get no records: %s", self._manifest.layout.dirpath, first_line(error))
        return begun

    def begin(self) -> None:
        """Begin to read those that were found, once the first save is on its way."""
        found, self._found = self._found, None
        if found is not None:
            self._until = math.inf
            self._worker.submit(lambda: self._record_all(found))

    def finish(self, patience: float = _PATIENCE) -> None:
        """Wait a while until all have records, and stop then.

        Args:
            patience: For how many seconds.
        """
        self._until = time.monotonic() + patience
        self._worker.close()

    def _record_all(self, found: Adoption) -> None:
        with contextlib.suppress(_Late):
            for record in reversed(found.records):  # the newest are needed most
                self._record(found, record)

    def _record(self, found: Adoption, record: Record) -> None:
        try:
            entered = found.enter(record, self._check_time)
        except OSError as error:  # it was deleted or replaced meanwhile, or is damaged
            log.info("%s: gets no record: %s", record.path, error.strerror or error)
            return
        self._note(entered)
        if identity(record.path) != record.identity:  # it was deleted before it was known that it has a record
            self._manifest.amend(
                entered.id, lambda now: {"status": Status.DELETED, "absent": True} if now.status.on_disk else {}
            )

    def _check_time(self, count: int) -> None:
        if time.monotonic() > self._until:
            raise _Late


class _Late(Exception):
    """The fit has ended."""
