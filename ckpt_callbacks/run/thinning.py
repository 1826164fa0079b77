"""The checkpoints of a training run of which its rules need less than they hold."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Collection

from ..errors import CkptError, first_line
from ..policy.contents import Contents
from ..policy.contents_order import held
from ..record import Record
from ..runtime.worker import Worker
from ..store import disk_space
from .rewriting import Rewriting, Stopped, unknown_names
from .view import RunView

log = logging.getLogger("ckpt_callbacks")


class Thinning:
    """Rewrites checkpoints that hold more than anything needs of them, one after the other.

    Args:
        view: The run, with a policy.
        worker: Rewrites them. It is not the worker that saves, because no save must wait for it.
        min_free: Bytes that must stay free on the disk.
    """

    def __init__(self, view: RunView, worker: Worker, min_free: int = 0) -> None:
        self._view, self._worker, self._min_free, self._is_stopped = view, worker, min_free, False
        self._is_asked = view.policy is not None and any(rule.contents for rule in view.policy.keep.parts())
        self._refused: set[int] = set()  # ids of records that cannot be rewritten
        self._unknown: set[str] = set()  # names in ``drop`` that were logged
        self._named: set[int] = set()  # ids of records whose failure was logged

    def begin(self) -> None:
        """Begin to rewrite what is due, unless that is under way."""
        self._is_stopped = False
        if self._is_asked and not self._worker.waiting and self._due() is not None:
            self._worker.submit(self._rewrite_all)

    def wait(self) -> None:
        """Wait until all that is due now has been rewritten, or cannot be."""
        self.begin()
        self._worker.wait()

    def make_room(self) -> bool:
        """Rewrite what is due now, for a save that finds the disk full, and return whether anything was due."""
        is_due = self._is_asked and (bool(self._worker.waiting) or self._due() is not None)
        if is_due:
            self.wait()
        return is_due

    def finish(self) -> None:
        """Rewrite all that is due, and end the thread."""
        self._worker.close()

    def stop(self) -> None:
        """Leave what is under way: no file is replaced from now on. Another process may take the directory."""
        self._is_stopped = True

    def _due(self, tried: Collection[int] = ()) -> tuple[Record, Contents] | None:
        plan = self._view.by_rules()
        left = (record for record in plan.thin if record.id not in self._refused and record.id not in tried)
        return next(((record, plan.needs[record.id]) for record in left), None)

    def _rewrite_all(self) -> None:
        tried: set[int] = set()
        while not self._is_stopped and (due := self._due(tried)) is not None:
            record, needed = due
            tried.add(record.id)  # once; what failed is tried again after the next save
            try:
                self._keep_free(record)
                now = Rewriting(self._view.manifest, record, needed).carry_out(lambda: not self._is_stopped)
            except Stopped:
                return
            except (CkptError, OSError) as error:
                self._note(record, error)
            else:
                if now is not None:
                    log.info("reduced %s to %s: %d bytes, before %d", record.file, held(now), now.size, record.size)
                    self._note_unknown(now)

    def _note_unknown(self, record: Record) -> None:
        """Log once which names in ``drop`` no weight has."""
        if problem := unknown_names(record, self._unknown):
            log.warning("%s: %s", record.path, problem)
        self._unknown.update(record.reduced.get("unknown", ()))

    def _keep_free(self, record: Record) -> None:
        """Raise `OSError` unless both files fit on the disk."""
        if self._min_free and disk_space.free(record.path.parent) < record.size + self._min_free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"with min_free={self._min_free}")

    def _note(self, record: Record, error: Exception) -> None:
        """Log once that a checkpoint stays whole, unless it has been deleted meanwhile."""
        if not self._view.manifest.counts(record.id):
            return
        if isinstance(error, CkptError):  # the disk has not failed, so it would fail again
            self._refused.add(record.id)
        if record.id not in self._named:
            self._named.add(record.id)
            log.warning("%s: cannot be reduced now: %s", record.path, first_line(error))
