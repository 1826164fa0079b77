"""The rewriting of checkpoints of which nothing needs more than the weights."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ..errors import CkptError, StoreError, first_line
from ..formats import Written, format_of
from ..formats.format import Format
from ..record import Record, Status
from ..runtime.worker import Worker
from ..store.commit import flush
from ..store.digest import digest, verify
from ..store.manifest import Manifest
from ..store.private_files import make_folder
from ..store.replacement import finished, intended, is_in_place, swap, undone
from .leftovers import Leftovers
from .view import RunView

log = logging.getLogger("ckpt_callbacks")


class Thinning:
    """The full checkpoints of a training run of which its rules need only the weights, rewritten one after the other.

    Args:
        view: The run, with a policy.
        worker: Rewrites them. It is not the worker that saves, because no save must wait for it.
    """

    def __init__(self, view: RunView, worker: Worker) -> None:
        self._view, self._worker, self._is_stopped = view, worker, False
        self._is_asked = view.policy is not None and any(rule.contents for rule in view.policy.keep.parts())
        self._refused: set[int] = set()  # ids of records that cannot be rewritten
        self._named: set[int] = set()  # ids of records whose failure was logged

    def begin(self) -> None:
        """Begin to rewrite what is due, unless that is under way."""
        self._is_stopped = False
        if self._is_asked and not self._worker.waiting and self._due() is not None:
            self._worker.submit(self._rewrite_all)

    def close(self, *, stop: bool = False) -> None:
        """Finish what is under way and due.

        Args:
            stop: Whether to leave it, because the process has to end. No file is replaced from then on.
        """
        if stop:
            self._is_stopped = True
            return
        self._worker.close()

    def _due(self, tried: Collection[int] = ()) -> Record | None:
        left = (record for record in self._view.plan().thin if record.id not in self._refused)
        return next((record for record in left if record.id not in tried), None)

    def _rewrite_all(self) -> None:
        tried: set[int] = set()
        while not self._is_stopped and (record := self._due(tried)) is not None:
            tried.add(record.id)  # once; what failed is tried again after the next save
            try:
                now = Rewriting(self._view.manifest, record).carry_out(lambda: not self._is_stopped)
            except (CkptError, OSError) as error:
                if isinstance(error, CkptError):  # the disk has not failed, so it would fail again
                    self._refused.add(record.id)
                if record.id not in self._named:
                    log.warning("%s: stays whole, although its weights would do: %s", record.path, first_line(error))
                self._named.add(record.id)
            else:
                if now is not None:
                    log.info("reduced %s to its weights: %d bytes, before %d", record.file, now.size, record.size)


class Rewriting:
    """The replacement of one full checkpoint by a file of the same name that holds only the weights.

    Args:
        manifest: The run directory's manifest.
        record: The record of the checkpoint.
    """

    def __init__(self, manifest: Manifest, record: Record) -> None:
        self._manifest, self._record = manifest, record
        self._leftovers = Leftovers(manifest.layout.staging)
        self._intent: dict[str, Any] = {}  # the change that this object has announced

    def carry_out(self, may: Callable[[], bool] = lambda: True) -> Record | None:
        """Write the new file, read it back, let it take the place of the old one, and record it.

        Args:
            may: Called just before the journal announces the new file; returns whether to go on.

        Returns:
            The changed record; None if the checkpoint was deleted, pinned or reduced meanwhile, or ``may`` said no.

        Raises:
            OSError: The disk is full, or broken.
            StoreError: The format cannot be rewritten, or holds objects that only the script's own code can read.
            VerifyError: The checkpoint is damaged, or what was written is.
        """
        record, layout = self._record, self._manifest.layout
        form = format_of(record.path)
        if form is None or form.thin is None:
            raise StoreError(f"{record.path}: is in a format that cannot be rewritten; expected .ckpt, .keras or .h5")
        make_folder(layout.staging)
        staged = layout.staging / f"{record.run}-{record.id}.thin-{os.getpid()}{form.suffix}"
        self._leftovers.remove(staged)
        try:
            verify(record, from_device=True)  # otherwise, damage would be copied into a file with a good digest
            written = self._write(form, staged)
            if may():
                self._manifest.amend(record.id, lambda now: self._announced(now, written))
            if not self._intent:
                self._leftovers.remove(staged)
                return None
            swap(staged, record.path)
        except BaseException:
            self._leftovers.remove(staged)
            self._settle()
            raise
        return self._finish()

    def _write(self, form: Format, staged: Path) -> Written:
        """Write the new file, read it back, and return its facts."""
        assert form.thin is not None
        embedded = self._record.replace(contents="weights", resumable=False, digest="", size=0, identity="")
        written = form.thin(self._record.path, staged, embedded.to_json())
        if written.digest is None or written.size is None:
            flush(staged)
            written = Written(written.shapes, *digest(staged))
        if digest(staged, from_device=True) != (written.digest, written.size):
            raise StoreError(f"{staged}: its bytes changed on the way to the disk")
        form.check(staged, written.shapes)
        return written

    def _announced(self, now: Record, written: Written) -> dict[str, Any]:
        """Return the change that announces the new file; none if somebody has deleted, pinned or begun to reduce it."""
        is_same = now.status is Status.VERIFIED and now.digest == self._record.digest
        if is_same and not now.pinned and not now.replacement:
            assert written.digest is not None and written.size is not None
            self._intent = intended(written.digest, written.size, "weights")
        return self._intent

    def _finish(self) -> Record | None:
        now = self._manifest.amend(self._record.id, lambda now: finished(now) if now.status.on_disk else {})
        if now.status.on_disk:
            return now
        self._leftovers.remove(now.path)  # `ckpt rm` has deleted the old one, and the new one came after that
        return None

    def _settle(self) -> None:
        """After a failure, let the journal say which of the two files is there, if it had announced the new one."""
        try:
            now = self._manifest.records.get(self._record.id)
            if now is not None and now.replacement and self._intent:
                facts_of = finished if is_in_place(now) else lambda now: undone()
                self._manifest.amend(now.id, lambda now: facts_of(now) if now.replacement else {})
        except (OSError, StoreError) as error:  # until then, both files count as good
            log.warning("%s: %s; the next start corrects it", self._manifest.layout.journal, first_line(error))
