"""One checkpoint's way onto the disk: staged → compared → committed → verified → recorded."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from ..errors import CommitError, first_line
from ..formats import Written, format_of
from ..policy.filename import FileName
from ..policy.ranking import last_record
from ..record import Record, Status
from ..runtime.clock import Clock
from ..store.aliases import reader_suffix
from ..store.commit import commit, flush, free_name, remove
from ..store.digest import digest, verify
from ..store.identity import identity
from ..store.manifest import Manifest
from .named_files import NamedFiles
from .save_job import SaveJob

log = logging.getLogger("ckpt_callbacks")


class CheckpointWriter:
    """Writes the checkpoints of a run directory, one at a time. Raises whatever prevents that.

    Args:
        manifest: The directory's manifest.
        clock: For the timings in the records.
        filename: Template of the file names.
        suffix: The files' suffix.
        discard: Removes what a failed write leaves behind, and does not fail.
        files: Puts a file whose name is given in place of another.
    """

    def __init__(
        self, manifest: Manifest, clock: Clock, filename: FileName, suffix: str, discard: Callable[[Path], object],
        files: NamedFiles,
    ) -> None:  # fmt: skip
        self._manifest, self._layout, self._clock = manifest, manifest.layout, clock
        self._filename, self._suffix, self._discard, self._files = filename, suffix, discard, files
        self._written: tuple[int, int | None] = 0, 0  # the last file: its record's id, and the batches done before it

    def may_repeat(self, draft: Record) -> bool:
        """Return whether a save may turn out to be equal to the last one, and so need no room."""
        return not draft.file and self._same_step(draft) is not None

    def share(self, id_: int, draft: Record) -> Record:
        """Add a save of the same weights to the record ``id_``, and return that record.

        Raises:
            CommitError: That record has no file.
        """
        self._manifest.refresh()
        found = self._manifest.records.get(id_)
        if found is None or not found.status.on_disk or not found.path.exists():
            raise CommitError("the save of the same step failed, and this one shares its file")
        return self._merge_into(found, draft)

    def write(self, job: SaveJob) -> Record:
        """Write a snapshot, and return its record: a new one, or that of an equal file of the same step."""
        assert job.snapshot is not None
        draft = job.draft
        staged = self._free_staged(f"{draft.run}-{draft.id}", reader_suffix(draft.file) or self._suffix)
        try:
            written = job.snapshot.write(staged)
            if not written.finite:
                draft = draft.replace(finite=False, resumable=False)
            if draft.file:
                return self._replace(job, _described(draft, draft.file, staged, written), staged, written)
            if (last := self._same_step(draft)) is not None:
                if _are_equal(staged, last.path):
                    remove(staged)
                    return self._merge_into(last, draft)
                draft = self._other_weights(last, draft, job)
            name = free_name(self._layout.dirpath, self._filename.render(draft), self._suffix)
            return self._publish(job, _described(draft, name, staged, written), staged, written)
        except BaseException:
            self._discard(staged)
            raise

    def _free_staged(self, stem: str, suffix: str) -> Path:
        """Return an unused path in the staging folder, which has another name if a leftover cannot be removed."""
        staged = self._layout.staging / f"{stem}{suffix}"
        with contextlib.suppress(OSError):
            remove(staged)
        if os.path.lexists(staged):
            staged = staged.with_name(free_name(staged.parent, f"{stem}.again", suffix))
        return staged

    def _publish(self, job: SaveJob, record: Record, staged: Path, written: Written) -> Record:
        """Move a staged file into place, verify it, and record each step. Remove it if that fails."""
        manifest, target = self._manifest, self._layout.dirpath / record.file
        manifest.put(record)  # the intent, whose digest lets recovery recognise a crash after the rename
        try:
            commit(staged, target)
            record = manifest.put(record.replace(status=Status.COMMITTED))
            timings = {"written": self._clock.monotonic() - job.asked}
            found = identity(target)
            verify(record, from_device=True)
            if (form := format_of(record.path)) is not None:
                form.check(record.path, written.shapes)
            timings["verified"] = self._clock.monotonic() - job.asked
            timings["blocked"] = timings["verified"] if job.blocked is None else job.blocked
            self._written = record.id, job.batches
            return manifest.change(record.id, status=Status.VERIFIED, timings=timings, identity=found)
        except BaseException:
            if not os.path.lexists(staged):  # otherwise, a file with the target's name belongs to something else
                self._discard(target)
            raise

    def _replace(self, job: SaveJob, record: Record, staged: Path, written: Written) -> Record:
        """Verify a staged file, move it into place, where it may replace another one, and record each step."""
        manifest = self._manifest
        record = manifest.put(record)  # the intent, whose digest lets recovery recognise a crash after the rename
        timings = {"written": self._clock.monotonic() - job.asked}
        verify(record.replace(file=staged.name, directory=str(staged.parent)), from_device=True)
        if (form := format_of(staged)) is not None:
            form.check(staged, written.shapes)
        self._files.put(staged, record)
        timings["verified"] = self._clock.monotonic() - job.asked
        timings["blocked"] = timings["verified"] if job.blocked is None else job.blocked
        found = identity(record.path)
        record = manifest.put(record.replace(status=Status.VERIFIED, timings=timings, identity=found))
        self._files.outlive(record)
        return record

    def _same_step(self, draft: Record) -> Record | None:
        """Return the last record if ``draft`` was taken at the same step, so that both may have the same weights.

        A record of an earlier start counts only for a final state, because its file says where that start was.
        """
        self._manifest.refresh()  # `ckpt rm` may have deleted it
        last = last_record(self._manifest.verified(draft.run))
        if last is None or (last.step, last.contents) != (draft.step, draft.contents):
            return None
        return last if draft.final or last.attempt == draft.attempt else None

    def _other_weights(self, last: Record, draft: Record, job: SaveJob) -> Record:
        """Return the draft of a save at the step of ``last``, after a comparison has shown that the weights differ."""
        known = (last.id, last.attempt) == (self._written[0], draft.attempt)
        batches = self._written[1] if known else 0  # each start counts its own
        if job.batches != batches and job.batches is not None and batches is not None:
            return draft  # training has continued without counting a step
        if job.carries_metrics:  # something has changed the weights without a trace
            draft = draft.replace(metrics={}, scores={})
        # Something changed the weights after training (averages, the best ones); do not resume from them.
        return draft.replace(resumable=False) if draft.final else draft

    def _merge_into(self, record: Record, draft: Record) -> Record:
        """Give ``record`` the metrics, scores, reasons and tags of another save of the same weights."""
        return self._manifest.amend(
            record.id,
            lambda now: {
                "epoch": max(now.epoch, draft.epoch),
                "metrics": {**now.metrics, **draft.metrics},
                "scores": {**now.scores, **draft.scores},
                "reasons": tuple(dict.fromkeys((*now.reasons, *draft.reasons))),
                "final": now.final or draft.final,
                "finite": now.finite and draft.finite,
                "resumable": now.resumable and draft.resumable,
                "pinned": now.pinned or draft.pinned,
                "tags": tuple(dict.fromkeys((*now.tags, *draft.tags))),
            },
        )


def _described(draft: Record, name: str, staged: Path, written: Written) -> Record:
    """Return the draft with the facts of its file."""
    found_digest, size = written.digest, written.size
    if found_digest is None or size is None:
        flush(staged)
        found_digest, size = digest(staged)
    return draft.replace(file=name, digest=found_digest, size=size, status=Status.WRITING)


def _are_equal(one: Path, other: Path) -> bool:
    """Return True if two checkpoint files hold equal weights; False if that is unknown."""
    form = format_of(one)
    if form is None:
        return False
    try:
        return form.same(one, other)
    except OSError:  # the disk failed, and may work next time
        raise
    except Exception as error:  # whatever a framework raises: a second file does no harm, but a lost state does
        log.warning("%s: could not be compared with %s: %s", one.name, other.name, first_line(error))
        return False
