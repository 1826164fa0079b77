"""The checkpoints of a training run of which its rules need less than they hold."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection

from ..errors import CkptError, StoreError, first_line
from ..formats.compressed.packing import Compression
from ..formats.compressed.zstd import library
from ..formats.packed.packing import Packing
from ..formats.packed.suffix import is_packed
from ..formats.sharded.packing import Sharding
from ..policy.contents import Contents
from ..policy.contents_order import held
from ..policy.packing import least_gain, to_pack
from ..record import Record
from ..runtime.pauses import Pauses
from ..runtime.priority import yield_to_training
from ..runtime.worker import InlineWorker, Worker
from ..store import disk_space
from .repacking import Repacking
from .rewriting import Rewriting, unknown_names
from .staged_file import Stopped
from .view import RunView

log = logging.getLogger("ckpt_callbacks")

# With pauses of three times the work, a thread takes a quarter of one core. Some of what is due is superseded first.
_PAUSE = 3.0

_Key = tuple[int, str]  # the id of a record, and what becomes of it


class Thinning:
    """Rewrites checkpoints that hold more than anything needs of them, and packs some, one after the other.

    Args:
        view: The run, with a policy.
        worker: Rewrites them. It is not the worker that saves, because no save must wait for it.
        min_free: Bytes that must stay free on the disk.
        may_begin: Returns whether the rules may delete checkpoints now.
    """

    def __init__(
        self, view: RunView, worker: Worker, min_free: int = 0, may_begin: Callable[[], bool] = lambda: True
    ) -> None:
        self._view, self._worker, self._min_free, self._is_stopped = view, worker, min_free, False
        needs = [rule.needs() for rule in view.policy.keep.parts()] if view.policy is not None else []
        self._is_asked = any(needs)
        if any(contents is not None and contents.is_compressed for contents in needs):
            library()  # a run must not find out after hours that it is missing
        self._may_begin = may_begin
        self._pauses = Pauses(0 if isinstance(worker, InlineWorker) else _PAUSE)
        self._refused: set[_Key] = set()  # what cannot be done
        self._unknown: set[str] = set()  # names in ``drop`` that were logged
        self._causes: set[str] = set()  # what was logged of files that cannot be rewritten
        self._named: set[int] = set()  # ids of records whose failure was logged

    def begin(self) -> None:
        """Begin to rewrite what is due. If that is under way, look once more after it: it may have looked already."""
        self._is_stopped = False
        if self._is_asked and self._worker.waiting < 2 and self._due() is not None:
            self._worker.submit(self._rewrite_all)

    def wait(self) -> None:
        """Wait until all that is due now has been rewritten, or cannot be."""
        self.begin()
        with self._pauses.skipped():
            self._worker.wait()

    def make_room(self) -> bool:
        """Rewrite what is due now, for a save that finds the disk full, and return whether anything was due."""
        is_due = self._is_asked and (bool(self._worker.waiting) or self._due() is not None)
        if is_due:
            self.wait()
        return is_due

    def finish(self) -> None:
        """Rewrite all that is due, also what an earlier process has left, and end the thread."""
        if self._may_begin():
            self.begin()
        with self._pauses.skipped():
            self._worker.close()

    def stop(self) -> None:
        """Leave what is under way: no file is replaced from now on. Another process may take the directory."""
        self._is_stopped = True

    def _due(self, tried: Collection[_Key] = ()) -> tuple[_Key, Record, Rewriting | Repacking] | None:
        """Return what is to be done next, which has its key; None if nothing is left."""
        plan, manifest = self._view.by_rules(), self._view.manifest
        for record in plan.thin:
            if (key := (record.id, "reduced")) not in self._refused and key not in tried:
                return key, record, Rewriting(manifest, record, plan.needs[record.id])
        for record, needed in to_pack(plan):
            packing = packing_for(needed)
            key = (record.id, packing.done)
            if key not in self._refused and key not in tried and not is_packed(record.file):
                return key, record, Repacking(manifest, record, packing)
        return None

    def _rewrite_all(self) -> None:
        yield_to_training()
        tried: set[_Key] = set()
        while not self._is_stopped and (due := self._due(tried)) is not None:
            key, record, work = due
            tried.add(key)  # once; what failed is tried again after the next save
            with self._pauses.after(lambda: not self._is_stopped):
                self._carry_out(key, record, work)

    def _carry_out(self, key: _Key, record: Record, work: Rewriting | Repacking) -> None:
        try:
            self._keep_free(record)
            now = work.carry_out(lambda: not self._is_stopped)
        except Stopped:
            return
        except (CkptError, OSError) as error:
            self._note(key, record, error)
        else:
            if now is not None:
                self._say(record, now)

    def _say(self, before: Record, now: Record) -> None:
        if is_packed(now.file) and now.file != before.file:
            log.info(
                "%s %s: %d bytes, before %d", "split" if now.shards else "compressed", now.file, now.size, before.size
            )
        elif "gain" in now.compressed:
            log.info("%s stays native: compression would take %.1f %% off", now.file, 100 * now.compressed["gain"])
        else:
            log.info("reduced %s to %s: %d bytes, before %d", now.file, held(now), now.size, before.size)
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

    def _note(self, key: _Key, record: Record, error: Exception) -> None:
        """Log once that a checkpoint stays whole, unless it has been deleted meanwhile; and once for each cause."""
        if not self._view.manifest.counts(record.id):
            return
        if isinstance(error, CkptError):  # the disk has not failed, so it would fail again
            self._refused.add(key)
        cause = str(error).replace(str(record.path), "")
        if record.id not in self._named and cause not in self._causes:
            self._named.add(record.id)
            if isinstance(error, StoreError):
                self._causes.add(cause)
            log.warning("%s: cannot be %s now: %s", record.path, key[1], first_line(error))


def packing_for(needed: Contents) -> Packing:
    """Return the form that contents want, which are compressed or split."""
    return Compression(least_gain(needed)) if needed.split is None else Sharding(needed.split)
