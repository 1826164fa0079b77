"""Write → commit → verify → record → prune, in that order, for any framework."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import CkptError, CommitError, first_line
from ..formats import format_of
from ..policy.filename import FileName
from ..policy.ranking import last_record
from ..record import Record, Status
from ..recovery.lineage import supersede
from ..runtime.clock import Clock
from ..runtime.worker import Worker
from ..store import space
from ..store.commit import commit, flush, free_name, remove
from ..store.digest import digest, verify
from .directory import RunDirectory
from .outlook import Outlook
from .snapshot import Snapshot

log = logging.getLogger("ckpt_callbacks")

_TRIES = 2
_HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}  # an immediate retry cannot help


@dataclass(frozen=True)
class SaveJob:
    """A save to carry out.

    Attributes:
        save: The `Save.id` that it answers.
        draft: The part of the record that is known before the file is written, with its id from `Committer.new_id`.
        filename: Template of the file names.
        suffix: The file's suffix.
        asked: When the save was requested, on the run's clock.
        batches: See `Event`.
        carries_metrics: True if the draft's metrics were measured at an earlier event, probably with the same weights.
        snapshot: What to write; None if `unchanged` or `failed` is set.
        unchanged: The id of another record of the same event. It holds this state, or will when its save is done. The
            draft's reasons are added to that record, and nothing is written.
        failed: Why no snapshot could be taken.
        blocked: Seconds that training waited for the snapshot; None if it waits for the file.
    """

    save: int
    draft: Record
    filename: FileName
    suffix: str
    asked: float
    batches: int | None = None
    carries_metrics: bool = False
    snapshot: Snapshot | None = None
    unchanged: int | None = None
    failed: Exception | None = None
    blocked: float | None = None


@dataclass(frozen=True)
class SaveOutcome:
    """The outcome of a save.

    Attributes:
        save: The `Save.id`.
        record: The record; None if the save failed, and on all processes except the primary one.
        error: Why it failed; None if it succeeded.
        blocked: Seconds that training waited for it; None if nothing had to be written.
    """

    save: int
    record: Record | None = None
    error: CkptError | None = None
    blocked: float | None = None


class Committer:
    """Carries out saves in one run directory, on the worker.

    Args:
        directory: The run directory.
        worker: Carries out the jobs.
        clock: For the timings in the records.
        min_free: Bytes that a save must leave free on the disk.
    """

    def __init__(self, directory: RunDirectory, worker: Worker, clock: Clock, min_free: int = 0) -> None:
        self._directory, self._worker, self._clock, self._min_free = directory, worker, clock, min_free
        self._manifest, self._layout = directory.manifest, directory.manifest.layout
        self._outlook = Outlook()
        self._given: set[int] = set()  # ids of saves that are not done
        self._unrecorded: list[Record] = []  # failures that could not be written to the journal
        self._leftovers: list[Path] = []  # files of failed saves that could not be removed
        self._written: tuple[int, int | None] = 0, 0  # the last file: its record's id, and the batches done before it
        self._continued: tuple[str, int] | None = None  # the attempt whose predecessors are marked as superseded

    def new_id(self) -> int:
        """Return an id for one more save. A retry keeps the id. Called on the training thread."""
        known = (*list(self._given), *(failed.id for failed in list(self._unrecorded)))
        id_ = max((self._manifest.next_id, *(id_ + 1 for id_ in known)))
        self._given.add(id_)
        return id_

    def save(self, job: SaveJob, done: Callable[[SaveOutcome], None]) -> None:
        """Hand one save to the worker, which calls ``done`` with its outcome.

        If the snapshot is live, everything is done on the caller's thread before this returns.
        """
        here = job.snapshot is not None and job.snapshot.live
        self._worker.submit(lambda: done(self._carry_out(job)), here=here)

    def _carry_out(self, job: SaveJob) -> SaveOutcome:
        self._retry_leftovers()
        error = job.failed
        record = None
        try:
            for _ in range(0 if error is not None else _TRIES):
                try:
                    record = self._write(job)
                except Exception as caught:  # whatever a framework raises: a failed save never ends a training run
                    error = caught
                    if getattr(caught, "errno", None) in _HOPELESS:
                        break
                else:
                    error = None
                    break
        finally:
            if job.snapshot is not None:
                job.snapshot.release()
        reported = None if error is None else self._report(job, error)
        self._given.discard(job.draft.id)  # it is in the manifest now, or was not needed
        if record is not None and reported is None:
            self._outlook.succeed()
            self._prune_quietly(record)
        blocked = None  # nothing had to be written
        if job.unchanged is None:
            blocked = self._clock.monotonic() - job.asked if job.blocked is None else job.blocked
        return SaveOutcome(job.save, record if reported is None else None, reported, blocked)

    def _write(self, job: SaveJob) -> Record:
        draft, manifest = job.draft, self._manifest
        if job.unchanged is not None:
            found = manifest.records.get(job.unchanged)
            if found is None or not found.status.on_disk or not found.path.exists():
                raise CommitError("the save of the same step failed, and this one shares its file")
            return self._merge_into(found, draft)
        self._layout.staging.mkdir(parents=True, exist_ok=True)
        self._check_free(draft)
        staged = self._layout.staging / f"{draft.run}-{draft.id}{job.suffix}"
        target: Path | None = None
        assert job.snapshot is not None
        try:
            remove(staged)
            written = job.snapshot.write(staged)
            if not written.finite:
                draft = draft.replace(finite=False, resumable=False)
            if (last := self._same_step(draft)) is not None:
                if _are_equal(staged, last.path):
                    remove(staged)
                    return self._merge_into(last, draft)
                draft = self._other_weights(last, draft, job)
            found_digest, size = written.digest, written.size
            if found_digest is None or size is None:
                flush(staged)
                found_digest, size = digest(staged)
            name = free_name(self._layout.dirpath, job.filename.render(draft), job.suffix)
            record = draft.replace(file=name, digest=found_digest, size=size, status=Status.WRITING)
            manifest.put(record)  # the intent, whose digest lets recovery recognise a crash after the rename
            target = self._layout.dirpath / name
            commit(staged, target)
            record = manifest.put(record.replace(status=Status.COMMITTED))
            timings = {"written": self._clock.monotonic() - job.asked}
            verify(record, from_device=True)
            if (form := format_of(record.path)) is not None:
                form.check(record.path, written.shapes)
            timings["verified"] = self._clock.monotonic() - job.asked
            timings["blocked"] = timings["verified"] if job.blocked is None else job.blocked
            self._written = draft.id, job.batches
            return manifest.change(draft.id, status=Status.VERIFIED, timings=timings)
        except BaseException:
            # While this save's file is still staged, a file with that name belongs to something else.
            moved = target is not None and not os.path.lexists(staged)
            self._remove_quietly(target if moved and target is not None else staged)
            raise

    def _check_free(self, draft: Record) -> None:
        """Make sure that ``min_free`` bytes are left after a save of the same size as the last one."""
        if not self._min_free:
            return
        records = self._manifest.verified(draft.run)
        needed = max((r.size for r in records[-1:]), default=0) + self._min_free
        if space.free(self._layout.dirpath) < needed:
            # Checkpoints that no rule keeps still exist if a deletion failed, or if the rules have changed.
            self._prune_quietly()
        if (free := space.free(self._layout.dirpath)) < needed:
            raise OSError(
                errno.ENOSPC, f"{free} bytes are free; {needed} are needed to leave min_free={self._min_free}"
            )

    def _same_step(self, draft: Record) -> Record | None:
        """Return the last record if ``draft`` was taken at the same step, so that both may have the same weights.

        A record of an earlier start counts only for a final state, because its file says where that start was.
        """
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
        """Give ``record`` the metrics, scores and reasons of another save of the same weights."""
        return self._manifest.change(
            record.id,
            epoch=max(record.epoch, draft.epoch),
            metrics={**record.metrics, **draft.metrics},
            scores={**record.scores, **draft.scores},
            reasons=tuple(dict.fromkeys((*record.reasons, *draft.reasons))),
            final=record.final or draft.final,
            finite=record.finite and draft.finite,
            resumable=record.resumable and draft.resumable,
        )

    def _report(self, job: SaveJob, error: Exception) -> CommitError:
        text, name = f"{type(error).__name__}: {first_line(error)}", job.filename.render(job.draft)
        failed = job.draft.replace(file=f"{name}{job.suffix}", status=Status.FAILED, error=text)
        try:
            if failed.id:  # otherwise, only the save whose file it shares is recorded as failed
                self._manifest.put(failed)
        except Exception as journal_error:  # the journal may be on the same full disk
            log.warning("%s: the failure could not be recorded: %s", self._layout.journal, journal_error)
            self._unrecorded.append(failed)
        report = CommitError(
            f"{self._layout.dirpath / failed.file}: step {failed.step} was not saved: {text}; "
            f"older checkpoints are untouched, {self._outlook.after(error)}"
        )
        report.__cause__ = error
        return report

    def _prune_quietly(self, saved: Record | None = None) -> None:
        """Prune the directory. After the first save of a resumed run, first mark the records that it rolled back."""
        try:
            if saved is not None and self._continued != (saved.run, saved.attempt):
                supersede(self._manifest, saved.run, saved.attempt)
                # Set only now, so that the next save tries again if the journal could not be written.
                self._continued = saved.run, saved.attempt
            self._directory.prune()
        except Exception as error:  # the checkpoint itself is safe; the next save prunes again
            log.warning("%s: cleaning up failed: %s", self._layout.dirpath, error)

    def _remove_quietly(self, path: Path) -> None:
        try:
            remove(path, aside=self._layout.staging)
        except OSError as error:
            log.warning("%s: a leftover could not be removed: %s", path, error)
            self._leftovers.append(path)

    def _retry_leftovers(self) -> None:
        """Finish what earlier failed saves could not do, for example because the disk was full."""
        leftovers, self._leftovers = self._leftovers, []
        for path in leftovers:
            self._remove_quietly(path)
        while self._unrecorded:
            try:
                self._manifest.put(self._unrecorded[0])
            except Exception as error:
                log.warning("%s: the failure could not be recorded: %s", self._layout.journal, error)
                return
            del self._unrecorded[0]


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
