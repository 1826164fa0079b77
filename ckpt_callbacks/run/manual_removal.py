"""The deletion of one checkpoint by hand, also while a run trains in the directory."""

from __future__ import annotations

import contextlib
import os

from ..errors import DirectoryInUse, StoreError
from ..policy.policy import Policy
from ..record import Record, Status
from ..store.condition import check_counts
from ..store.lock import TrainingLock
from ..store.manifest import Manifest
from .leftovers import Leftovers
from .pruning import delete, move_aliases
from .view import RunView, missing_ids


def remove_by_hand(manifest: Manifest, policy: Policy | None, record: Record, *, force: bool) -> bool:
    """Delete a checkpoint, and move the links that named it.

    Args:
        manifest: The directory's manifest.
        policy: The policy of the newest run, if it is known.
        record: The checkpoint's record.
        force: Whether to delete a checkpoint that is pinned, that a link names, or from which a run would resume.

    Returns:
        False if its file could not be deleted.

    Raises:
        StoreError: The checkpoint does not exist, or is not to be deleted, or something else has its name.
    """
    view, layout = RunView(manifest, policy), manifest.layout

    def may(now: Record) -> bool:
        _check(view, now, force=force, alone=alone)
        return True

    lock = TrainingLock(layout.training_lock, layout.owner, "ckpt rm")
    with contextlib.ExitStack() as stack:
        try:
            lock.acquire()
            stack.callback(lock.release)
            alone = True
        except DirectoryInUse:
            alone = False  # a training run holds the directory: it moves the links
        stack.callback(manifest.say_gone)
        manifest.refresh()
        view.missing |= missing_ids(manifest)  # what takes their place is needed instead
        now = manifest.recall(record.id) or record
        if now.status is Status.FAILED:
            return _remove_failed(manifest, now, force=force)
        check_counts(now)
        delete(manifest, now, may, Leftovers(layout.staging), "by hand")
        if alone:
            move_aliases(view)
    if (replaced := (manifest.recall(record.id) or record).error) is not None:
        raise StoreError(f"{replaced}; it no longer counts, and was not deleted")
    return not os.path.lexists(record.path)


def _remove_failed(manifest: Manifest, record: Record, *, force: bool) -> bool:
    """Delete the file of a checkpoint that has failed."""
    path = record.path
    if not os.path.lexists(path):
        raise StoreError(f"{path}: is not deleted: its save failed, and nothing is left of it")
    if any(live.file == record.file for live in manifest.live()):
        raise StoreError(f"{path}: is not deleted: a later checkpoint has its name; name that one by its id")
    if not force:
        why = f"it is not what was saved ({record.error})"
        raise StoreError(f"{path}: is not deleted: {why}; pass --force to delete it anyway")
    manifest.amend(record.id, lambda now: {"status": Status.DELETED, "absent": False})
    is_gone = Leftovers(manifest.layout.staging).remove(path)
    if is_gone:
        manifest.gone_files.note([record.id])
    return is_gone


def _check(view: RunView, record: Record, *, force: bool, alone: bool) -> None:
    """Raise `StoreError` if a checkpoint is not to be deleted."""
    uses = [f"it is {name}" for name, named in view.aliases().items() if named is not None and named.id == record.id]
    if view.would_resume_from(record):
        uses.append("a run would resume from it")
    if not alone and (uses or record.status is Status.COMMITTED):
        why = ", and ".join(uses) or "it is not verified yet"
        raise StoreError(f"{record.path}: is not deleted: {why}, and a training run is writing here; wait for its end")
    if record.pinned:
        uses.append("it is pinned")
    if uses and not force:
        raise StoreError(f"{record.path}: is not deleted: {', and '.join(uses)}; pass --force to delete it anyway")
