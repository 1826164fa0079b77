"""Write → commit → verify → record → prune, in that order, for any framework."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import CommitError, first_line
from ..formats import format_of
from ..policy.metric import Metric
from ..policy.ranking import alias_targets, last_record
from ..policy.retention import Retention, plan
from ..record import Record, Status
from ..runtime.clock import Clock
from ..runtime.worker import Worker
from ..store import space
from ..store.aliases import move_alias
from ..store.commit import commit, flush, free_name, remove
from ..store.digest import digest, verify
from ..store.layout import Layout
from ..store.manifest import Manifest
from .snapshot import Snapshot

log = logging.getLogger("ckpt_callbacks")

SameContent = Callable[[Path, Path], bool]
_TRIES = 2
_HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}  # trying again at once cannot help


@dataclass(frozen=True)
class Outcome:
    """What became of a save: the record, or the error."""

    record: Record | None = None
    error: CommitError | None = None


@dataclass(frozen=True)
class Request:
    """A save to carry out.

    Attributes:
        draft: The facts that are known before it is written, its id from `Checkpointer.new_id` among them.
        stem, suffix: Its file name.
        snapshot: What to write; None where `unchanged` is all there is, or where `failed` says why there is none.
        same: Tells whether two files of this kind hold the same content; only asked of two saves of one step.
        unchanged: The id of the record that holds these very weights already, or will when its save is done; it takes
            over the facts, and nothing is written.
        failed: Why no snapshot could be taken.
        asked, blocked: When the save was asked for, on the run's clock, and how many seconds its snapshot took.
        committed: Called once the record is verified, before anything is deleted on its account.
    """

    draft: Record
    stem: str
    suffix: str
    snapshot: Snapshot | None = None
    same: SameContent | None = None
    unchanged: int | None = None
    failed: Exception | None = None
    asked: float = 0.0
    blocked: float | None = None
    committed: Callable[[], None] = lambda: None


class Checkpointer:
    """Carries out saves in one run directory.

    Args:
        manifest: The directory's manifest. keep: the retention rule. best: the metric behind ``best``.
        worker: Who does the work. clock: for the timings in the records.
        min_free: Bytes that a save must leave free on the disk.
    """

    def __init__(
        self, manifest: Manifest, keep: Retention, best: Metric | None, worker: Worker, clock: Clock, min_free: int = 0
    ) -> None:
        self.manifest, self._keep, self._best, self._worker, self._clock = manifest, keep, best, worker, clock
        self._min_free = min_free
        self._layout: Layout = manifest.layout
        self._given: set[int] = set()  # ids of saves that are not done
        self._unrecorded: list[Record] = []  # failures that the journal did not take
        self._blocked: set[str] = set()  # aliases whose name somebody else's file has
        self._leftovers: list[Path] = []  # files of failed saves that could not be removed

    def new_id(self) -> int:
        """An id for one more save, which keeps it in its second try. To be called on the training's thread."""
        known = (*list(self._given), *(failed.id for failed in list(self._unrecorded)))
        id_ = max((self.manifest.next_id, *(id_ + 1 for id_ in known)))
        self._given.add(id_)
        return id_

    def save(self, request: Request, done: Callable[[Outcome], None]) -> None:
        """Hand one save to the worker; ``done`` is called with its outcome, on the worker's thread.

        Where the snapshot is live, all is done on the caller's thread before this returns.
        """
        here = request.snapshot is not None and request.snapshot.live
        self._worker.submit(lambda: done(self._carry_out(request)), here=here)

    def restore_aliases(self, run: str) -> None:
        """Move the aliases as the last save should have, in case it was cut off before."""
        try:
            self._move_aliases(self.manifest.verified(run))
        except OSError as error:  # links are for people: none of them is worth a training
            log.warning("%s: the aliases could not be moved: %s", self._layout.dirpath, error)

    def _carry_out(self, request: Request) -> Outcome:
        self._make_up()
        error = request.failed
        try:
            for _ in range(0 if error is not None else _TRIES):
                try:
                    record = self._write(request)
                except Exception as caught:  # whatever a framework raises: a failed save never ends a training
                    error = caught
                    if getattr(caught, "errno", None) in _HOPELESS:
                        break
                else:
                    error = None
                    break
        finally:
            if request.snapshot is not None:
                request.snapshot.release()
        outcome = Outcome(record=record) if error is None else Outcome(error=self._report(request, error))
        self._given.discard(request.draft.id)  # it stands in the manifest now, or was not needed
        if outcome.record is not None:
            self._tidy(outcome.record.run, request.committed)
        return outcome

    def _write(self, request: Request) -> Record:
        draft = request.draft
        if request.unchanged is not None:
            found = self.manifest.records.get(request.unchanged)
            if found is None or not found.status.on_disk or not found.path.exists():
                raise CommitError("the save of the same step, whose file it was to share, failed")
            return self._annotate(found, draft)
        self._layout.staging.mkdir(parents=True, exist_ok=True)
        self._check_free(draft)
        staged = self._layout.staging / f"{draft.run}-{draft.id}{request.suffix}"
        target: Path | None = None
        try:
            remove(staged)
            written = request.snapshot.write(staged)
            if (last := self._same_step(draft, request)) is not None:
                if _are_same(request.same, staged, last.path):
                    remove(staged)
                    return self._annotate(last, draft)
                # Something changed the weights after training (an average, the best ones): no place to train on from.
                draft = draft.replace(resumable=False)
            found, size = written.digest, written.size
            if found is None or size is None:
                flush(staged)
                found, size = digest(staged)
            name = free_name(self._layout.dirpath, request.stem, request.suffix)
            record = draft.replace(file=name, digest=found, size=size, status=Status.WRITING)
            self.manifest.put(record)  # the intent, with the digest: a crash behind the rename can be told apart
            target = self._layout.dirpath / name
            commit(staged, target)
            record = self.manifest.put(record.replace(status=Status.COMMITTED))
            timings = {"written": self._clock.monotonic() - request.asked}
            verify(record, from_device=True)
            if (form := format_of(record.path)) is not None:
                form.check(record.path, written.shapes)
            timings["verified"] = self._clock.monotonic() - request.asked
            timings["blocked"] = timings["verified"] if request.blocked is None else request.blocked
            return self.manifest.change(draft.id, status=Status.VERIFIED, timings=timings)
        except BaseException:
            # As long as it is staged, whatever has the name is somebody else's.
            moved = target is not None and not os.path.lexists(staged)
            self._remove_quietly(target if moved else staged)
            raise

    def _check_free(self, draft: Record) -> None:
        """Make sure that ``min_free`` bytes are left behind a save of the size that the last one had."""
        if not self._min_free:
            return
        records = self.manifest.verified(draft.run)
        needed = max((r.size for r in records[-1:]), default=0) + self._min_free
        if space.free(self._layout.dirpath) < needed:
            # What no rule keeps is still there when a deletion failed, or when the rules have changed.
            self._tidy(draft.run, lambda: None)
        if (free := space.free(self._layout.dirpath)) < needed:
            raise OSError(
                errno.ENOSPC, f"{free} bytes are free; {needed} are needed, to leave min_free={self._min_free}"
            )

    def _same_step(self, draft: Record, request: Request) -> Record | None:
        """The last record, when it was taken at the same step, so that ``draft`` may repeat it."""
        last = last_record(self.manifest.verified(draft.run))
        if request.same is None or last is None or (last.step, last.contents) != (draft.step, draft.contents):
            return None
        return last

    def _annotate(self, record: Record, draft: Record) -> Record:
        """Give ``record`` the metrics, scores and reasons of another save of the very same weights."""
        return self.manifest.change(
            record.id,
            epoch=max(record.epoch, draft.epoch),
            metrics={**record.metrics, **draft.metrics},
            scores={**record.scores, **draft.scores},
            reasons=tuple(dict.fromkeys((*record.reasons, *draft.reasons))),
            final=record.final or draft.final,
        )

    def _report(self, request: Request, error: Exception) -> CommitError:
        text = f"{type(error).__name__}: {first_line(error)}"
        failed = request.draft.replace(file=f"{request.stem}{request.suffix}", status=Status.FAILED, error=text)
        try:
            if failed.id:  # else the save whose file it was to share is on record as failed
                self.manifest.put(failed)
        except Exception as journal_error:  # the journal may lie on the same full disk
            log.warning("%s: the failure could not be recorded: %s", self._layout.journal, journal_error)
            self._unrecorded.append(failed)
        report = CommitError(
            f"{self._layout.dirpath / failed.file}: step {failed.step} was not saved: {text}; "
            "older checkpoints are untouched, and the next save tries again"
        )
        report.__cause__ = error
        return report

    def tidy(self, run: str) -> None:
        """Move the aliases and delete what no rule keeps."""
        records = self.manifest.verified(run)
        self._move_aliases(records)
        for record in plan(self._keep, records, best=self._best).remove:
            self._delete(record)

    def _tidy(self, run: str, before: Callable[[], None]) -> None:
        try:
            before()
            self.tidy(run)
        except Exception as error:  # the checkpoint itself is safe; the next save tidies again
            log.warning("%s: cleaning up failed: %s", self._layout.dirpath, error)

    def _move_aliases(self, records: list[Record]) -> None:
        ours = {record.file for record in list(self.manifest.records.values())}
        for name, record in alias_targets(records, self._best).items():
            moved = move_alias(self._layout.dirpath, name, record.file if record else None, ours)
            if not moved and name not in self._blocked:
                self._blocked.add(name)
                log.warning(
                    "%s: somebody else's file has the name %r, so that link is not made", self._layout.dirpath, name
                )

    def _delete(self, record: Record) -> None:
        self.manifest.change(record.id, status=Status.DELETED)
        remove(record.path, aside=self._layout.staging)
        log.info("deleted %s", record.file)

    def _remove_quietly(self, path: Path) -> None:
        try:
            remove(path, aside=self._layout.staging)
        except OSError as error:
            log.warning("%s: a leftover could not be removed: %s", path, error)
            self._leftovers.append(path)

    def _make_up(self) -> None:
        """Do what earlier saves that failed could not do: their disk was full, say."""
        leftovers, self._leftovers = self._leftovers, []
        for path in leftovers:
            self._remove_quietly(path)
        while self._unrecorded:
            try:
                self.manifest.put(self._unrecorded[0])
            except Exception as error:
                log.warning("%s: the failure could not be recorded: %s", self._layout.journal, error)
                return
            del self._unrecorded[0]


def _are_same(same: SameContent, one: Path, other: Path) -> bool:
    try:
        return same(one, other)
    except OSError:  # the disk failed, and may not the next time
        raise
    except Exception as error:  # whatever a framework raises: two files are no harm, and a state that is lost is
        log.warning("%s: could not be compared with %s: %s", one.name, other.name, first_line(error))
        return False
