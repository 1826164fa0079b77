"""The saves of a run directory, one after another on the worker: write, retry, report, prune."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import CkptError, CommitError, StoreError, first_line
from ..policy.filename import FileName
from ..record import Record, Status
from ..recovery.lineage import supersede
from ..runtime.clock import Clock
from ..runtime.worker import BackgroundWorker, Worker
from ..store.disk_space import FULL
from ..store.private_files import make_folder
from .checkpoint_writer import CheckpointWriter
from .directory import RunDirectory
from .free_space import keep_free
from .named_files import NamedFiles
from .pruning import delete_leftovers
from .retry_outlook import Outlook
from .save_job import SaveJob
from .shared_blocks import SharedBlocks

log = logging.getLogger("ckpt_callbacks")

_TRIES = 2
_HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}  # an immediate retry cannot help


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
        filename: Template of the file names.
        suffix: The files' suffix.
        min_free: Bytes that a save must leave free on the disk.

    Attributes:
        files: Handles files whose names other code gives.
        shared_blocks: Lets equal arrays of several checkpoints take room only once, if the file system can.
    """

    def __init__(
        self, directory: RunDirectory, worker: Worker, clock: Clock, filename: FileName, suffix: str, min_free: int
    ) -> None:
        self._directory, self._worker, self._clock = directory, worker, clock
        self._filename, self._suffix, self._min_free = filename, suffix, min_free
        self._manifest, self._layout = directory.manifest, directory.manifest.layout
        self.files = NamedFiles(self._manifest, directory.leftovers)
        self._writer = CheckpointWriter(
            self._manifest, clock, filename, suffix, directory.leftovers.remove, self.files
        )  # fmt: skip
        self.shared_blocks, self._outlook = SharedBlocks(directory.view, BackgroundWorker()), Outlook()
        self._given: set[int] = set()  # ids of saves that are not done
        self._continued: tuple[str, int] | None = None  # the attempt whose predecessors are marked as superseded

    @property
    def waiting(self) -> int:
        """Number of jobs that are not done, on the worker."""
        return self._worker.waiting

    def wait(self, at_most: int = 0) -> None:
        """Wait until at most ``at_most`` jobs are unfinished."""
        self._worker.wait(at_most)

    def new_id(self) -> int:
        """Return an id for one more save. A retry keeps the id. Called on the training thread."""
        known = (*list(self._given), *self._directory.late.failed_ids)
        id_ = max((self._manifest.next_id, *(id_ + 1 for id_ in known)))
        self._given.add(id_)
        return id_

    def forget_id(self, id_: int) -> None:
        """Forget an id whose record is in the manifest now, or was not needed."""
        self._given.discard(id_)

    def then(self, job: Callable[[], None]) -> None:
        """Hand the worker a job that raises nothing, after all earlier ones."""
        self._worker.submit(job)

    def quietly(self, job: Callable[[], None]) -> None:
        """Carry out what no checkpoint depends on. A failure is logged."""
        try:
            job()
        except Exception as error:  # the checkpoints are safe
            log.warning("%s: cleaning up failed: %s", self._layout.dirpath, error)

    def save(self, job: SaveJob, done: Callable[[SaveOutcome], None]) -> None:
        """Hand one save to the worker, which calls ``done`` with its outcome.

        If the snapshot is live, everything is done on the caller's thread before this returns.
        """
        here = job.snapshot is not None and job.snapshot.live
        self._worker.submit(lambda: done(self._carry_out(job)), here=here)

    def _carry_out(self, job: SaveJob) -> SaveOutcome:
        self._catch_up()
        error = job.failed
        record = None
        try:
            for tried in range(0 if error is not None else _TRIES):
                try:
                    record = self._write(job)
                except Exception as caught:  # whatever a framework raises: a failed save never ends a training run
                    error = caught
                    if getattr(caught, "errno", None) in _HOPELESS and (tried or not self._makes_room(caught)):
                        break
                else:
                    error = None
                    break
        finally:
            if job.snapshot is not None:
                job.snapshot.release()
        reported = None if error is None else self._report(job, error)
        self.forget_id(job.draft.id)
        if record is not None and reported is None:
            self._outlook.succeed()
            self._prune_quietly(record)
        blocked = None  # nothing had to be written
        if job.unchanged is None:
            blocked = self._clock.monotonic() - job.asked if job.blocked is None else job.blocked
        return SaveOutcome(job.save, record if reported is None else None, reported, blocked)

    def _makes_room(self, error: Exception) -> bool:
        """Return whether checkpoints that are due to be reduced made room on a full disk."""
        return getattr(error, "errno", None) in FULL and self._directory.thinning.make_room()

    def _write(self, job: SaveJob) -> Record:
        self._directory.late.write()
        if job.unchanged is not None:
            return self._writer.share(job.unchanged, job.draft)
        make_folder(self._layout.staging)
        if self._directory.view.has_budget and not self._writer.may_repeat(job.draft):
            self._directory.room.before_save(job.draft)
        keep_free(self._min_free, self._manifest, job.draft.run, self._prune_quietly)
        return self._writer.write(job)

    def _report(self, job: SaveJob, error: Exception) -> CommitError:
        text, name = f"{type(error).__name__}: {first_line(error)}", self._filename.render(job.draft)
        failed = job.draft.replace(file=job.draft.file or f"{name}{self._suffix}", status=Status.FAILED, error=text)
        if failed.id:  # otherwise, only the save whose file it shares is recorded as failed
            late, is_first = self._directory.late, not self._directory.late.failed_ids
            late.add(failed)
            try:
                late.write()
            except Exception as journal_error:  # the journal may be on the same full disk
                if is_first:  # otherwise, an earlier one has said so
                    log.warning("%s: the failure could not be recorded: %s", self._layout.journal, journal_error)
        report = CommitError(
            f"{self._layout.dirpath / failed.file}: step {failed.step} was not saved: {text}; "
            f"older checkpoints are untouched, {self._outlook.after(error)}"
        )
        report.__cause__ = error
        return report

    def _prune_quietly(self, saved: Record | None = None) -> None:
        """Prune the directory. After the first save of a resumed run, first mark the records that it rolled back."""
        self.quietly(lambda: self._prune(saved))  # the next save prunes again

    def _prune(self, saved: Record | None) -> None:
        if saved is not None and self._continued != (saved.run, saved.attempt):
            supersede(self._manifest, saved.run, saved.attempt)
            # Set only now, so that the next save tries again if the journal could not be written.
            self._continued = saved.run, saved.attempt
        self._directory.prune()
        self.shared_blocks.begin()

    def _catch_up(self) -> None:
        """Finish what earlier saves could not do, for example because the disk was full."""
        delete_leftovers(self._manifest, self._directory.leftovers)
        with contextlib.suppress(OSError, StoreError):  # the save itself says so
            self._directory.late.write()
