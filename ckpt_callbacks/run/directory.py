"""A run directory in the hands of a training."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..errors import DirectoryInUse, StoreError
from ..policy.policy import Policy
from ..recovery.interrupted import mark_damaged, recover
from ..recovery.rebuild import find_unlisted
from ..runtime.clock import Clock
from ..runtime.processes import Peers, leads
from ..runtime.worker import Worker
from ..store.lock import TrainingLock
from .committer import Checkpointer
from .history import History

log = logging.getLogger("ckpt_callbacks")


class Holding(History):
    """A run directory that one training at a time holds, and that is put in order when it is taken.

    Args:
        dirpath, policy: As for `History`. worker: carries out saves. clock: see `Checkpointer`.
        holder: What error messages call the caller. min_free: bytes that a save must leave free on the disk.

    Attributes:
        peers: The processes that train together. is_open: the directory is held.
    """

    def __init__(
        self, dirpath: Path, policy: Policy, worker: Worker, clock: Clock, holder: str, min_free: int
    ) -> None:  # fmt: skip
        super().__init__(dirpath, policy)
        self.peers, self.is_open = Peers(), False
        self._holder = holder
        self._lock = TrainingLock(self.manifest.layout.training_lock, self.manifest.layout.owner, holder)
        self._checkpointer = Checkpointer(self.manifest, policy.keep, policy.best_metric, worker, clock, min_free)

    def open(self) -> None:
        """Take the directory: create it, lock it, read its manifest.

        Raises:
            DirectoryInUse: somebody else trains here. StoreError: the directory cannot be written.
        """
        if self.is_open or not self.peers.leader:
            self.is_open = True
            return
        layout = self.manifest.layout
        try:
            layout.private.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise StoreError(
                f"{self.dirpath}: cannot be written: {error.strerror or error}; expected a directory for checkpoints"
            ) from error
        self.is_open = True
        self._finish_what_was_cut_off()

    def settle(self) -> None:
        """Finish or undo what a killed training left half done, unless a training holds the directory now.

        So that who asks where to resume from is told of all that is there.
        """
        if self.is_open or not leads() or not self._holds_anything():
            return
        try:
            self.manifest.layout.private.mkdir(exist_ok=True)
            self._lock.acquire()
        except (OSError, DirectoryInUse):
            return  # it is read as it is
        try:
            self._finish_what_was_cut_off()
        except (OSError, StoreError) as error:
            log.warning("%s", error)
        finally:
            self._lock.release()

    def _holds_anything(self) -> bool:
        return os.path.isdir(self.manifest.layout.private) or next(find_unlisted(self.manifest), None) is not None

    def _finish_what_was_cut_off(self) -> None:
        self.manifest.refresh()
        self._refuse_another_framework()
        for line in recover(self.manifest):
            log.warning("%s: %s", self.dirpath, line)
        mark_damaged(self.manifest, self._damaged, self.best)
        self._checkpointer.restore_aliases(self.run_id)

    def _refuse_another_framework(self) -> None:
        """Raise `StoreError` where a callback of another kind has trained, before anything of its is touched."""
        for attempt in self.manifest.attempts:
            if (other := attempt.facts.get("holder", self._holder)) != self._holder:
                raise StoreError(
                    f"{self.dirpath}: holds a run of {other}, from whose files {self._holder} cannot go on; "
                    "expected an empty directory, or one of its own"
                )

    def release(self) -> None:
        """Give the directory back; harmless when it is not held."""
        if self.is_open and self.peers.leader:
            self._lock.release()
        self.is_open = False
