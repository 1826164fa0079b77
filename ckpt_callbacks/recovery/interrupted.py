"""Recovery of a run directory after an interrupted training run."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial

from ..errors import RecoveryError, Unreadable, VerifyError, cause_of, listed
from ..record import Record, Status
from ..store.digest import verify
from ..store.disk_space import FULL
from ..store.manifest import Manifest
from ..store.replacement import verify_now
from .deletions import find_lost_renames, find_unfinished_deletions, note_finished
from .overwritten import find_overwritten
from .rebuild import find_unlisted
from .repair import Repair
from .replacements import find_unfinished_replacements
from .returned import find_returned

log = logging.getLogger("ckpt_callbacks")


def recover(manifest: Manifest) -> list[str]:
    """Make the directory and its manifest agree. Only the holder of the training lock may call it.

    A lost or truncated manifest is rebuilt first; then unfinished work is finished or undone: see `FINDERS`.

    Returns:
        One line for each repair. One that fails, such as a file that cannot be deleted, does not hinder the others.

    Raises:
        RecoveryError: The directory cannot be searched. Repairs already made remain; the next call makes the rest.
    """
    done = []
    with _recovery_errors(manifest):
        for find in FINDERS:
            for repair in list(find(manifest)):
                done.append(repair.describe(applied=True, error=repair.attempt()))
    note_finished(manifest)
    return done


def find_unfinished_saves(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair for each save that a killed training run left unfinished.

    Leftovers in the staging folder are removed. A checkpoint that was renamed, but not journalled as such, is kept if
    its bytes match the digest of the intent; otherwise the save is marked as failed. Files that the manifest does not
    list are not touched.
    """
    staging = manifest.layout.staging
    if staging.is_dir() and any(staging.iterdir()):
        yield Repair("a checkpoint was written only partially", "removed", lambda: _empty(staging))
    for record in list(manifest.records.values()):
        if record.status in (Status.WRITING, Status.COMMITTED):
            yield from _finish_save(manifest, record)


# In this order, because what a step finds depends on earlier repairs; the last but one empties the staging folder.
FINDERS = (
    find_unlisted,
    find_unfinished_replacements,
    find_returned,
    find_lost_renames,
    find_unfinished_deletions,
    find_unfinished_saves,
    find_overwritten,
)


def mark_damaged(manifest: Manifest, damaged: dict[int, VerifyError], best: Callable[[], Record | None]) -> None:
    """Mark missing and damaged checkpoints as failed, so that they neither rank as best nor count in a rule.

    Args:
        manifest: The manifest.
        damaged: Errors of checkpoints that are known to fail verification, by id. Afterwards it contains only those
            that cannot be read: this run ignores them, and the next one tries them again.
        best: Returns the record that ranks first among those that are not in ``damaged``. It is called again
            until that record passes verification.

    Raises:
        RecoveryError: The disk failed.
    """
    while (record := best()) is not None:
        try:
            verify_now(manifest, record)
            break
        except VerifyError as error:
            log.warning("%s; it is ignored: best is the next best one, and a resume takes the newest good one", error)
            damaged[record.id] = error
    missing = [record for record in manifest.live() if not os.path.exists(record.path)]
    missing.sort(key=lambda record: not record.pinned)
    if named := [f"{r.file} (pinned)" if r.pinned else r.file for r in missing if r.id not in damaged]:
        log.warning("%s: missing, and no longer counted: %s", manifest.layout.dirpath, listed(named))
    for record in missing:
        damaged.setdefault(record.id, VerifyError(f"{record.path}: missing"))
    with _recovery_errors(manifest):
        for id_ in [id_ for id_, error in damaged.items() if not isinstance(error, Unreadable)]:
            try:
                manifest.amend(id_, partial(as_failed, error=damaged[id_]))
            except OSError as error:
                if error.errno in FULL:  # this run ignores them, and the next one tries again
                    break
                raise
            del damaged[id_]


@contextlib.contextmanager
def _recovery_errors(manifest: Manifest) -> Iterator[None]:
    """Turn disk errors into a `RecoveryError`."""
    try:
        yield
    except OSError as error:
        raise RecoveryError(
            f"{manifest.layout.dirpath}: could not recover from an interrupted training run: "
            f"{cause_of(error)}; try again, or choose another directory"
        ) from error


def as_failed(now: Record, error: VerifyError, digest: str | None = None) -> dict[str, object]:
    """Return the change that marks a checkpoint as failed; none if it was deleted or reduced meanwhile.

    Args:
        now: The record as it is.
        error: What is wrong with the file.
        digest: The digest that the file was compared with, if another process may have changed it.
    """
    if not now.status.on_disk or (digest is not None and now.digest != digest):
        return {}
    return {"status": Status.FAILED, "error": str(error), "absent": not os.path.exists(now.path)}


def _empty(staging: os.PathLike[str]) -> None:
    """Delete what can be deleted, and then raise the first error."""
    errors: list[OSError] = []
    shutil.rmtree(staging, onerror=lambda call, path, why: errors.append(why[1]))  # type: ignore[arg-type]
    if errors:
        raise errors[0]


def _finish_save(manifest: Manifest, record: Record) -> Iterator[Repair]:
    def change(**facts: object) -> Callable[[], object]:
        return lambda: manifest.change(record.id, **facts)

    try:
        verify(record)
    except Unreadable as error:
        log.warning("%s; it could not be read after an interrupted save; the next run checks it again", error)
    except VerifyError as error:
        # It was never reported as saved. The file of that name may be a different one by now.
        what = (
            "interrupted before the file was in place" if record.status is Status.WRITING else f"interrupted: {error}"
        )
        problem = f"{record.file}: its save was interrupted"
        yield Repair(problem, "marked as failed", change(status=Status.FAILED, error=what), changes_only_records=True)
    else:
        yield Repair(
            f"{record.file}: its save was interrupted after the file was in place",
            "kept, because the file verifies",
            change(status=Status.VERIFIED),
            changes_only_records=True,
        )
