"""The aliases and the retention rules, carried out in a run directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import VerifyError
from ..record import Record, Status
from ..store.aliases import link_targets, move_alias
from ..store.identity import require_same
from ..store.manifest import Manifest
from .leftovers import Leftovers
from .view import RunView

log = logging.getLogger("ckpt_callbacks")


def prune(view: RunView, leftovers: Leftovers, incoming: int = 0) -> list[Record]:
    """Delete the checkpoints of a run that no rule keeps, or that exceed its budget; those of other runs stay.

    Args:
        view: The run, with a policy.
        leftovers: Deletes the files.
        incoming: Bytes of a checkpoint that is about to be written.

    Returns:
        The records whose checkpoints were deleted.
    """
    view.refresh()  # another process may have pinned or tagged a checkpoint
    fitted, gone = view.fitted(incoming), []
    for record in fitted.plan.remove:
        why = f"to stay within max_total_size={view.max_total_size}" if record.id in fitted.gone else "no rule keeps it"
        if delete(view.manifest, record, partial(_same_names, record), leftovers, why):
            gone.append(record)
    return gone


def delete(
    manifest: Manifest, record: Record, may: Callable[[Record], bool], leftovers: Leftovers, why: str
) -> bool:  # fmt: skip
    """Delete one checkpoint. The journal records this first, so that recovery can recognise a crash in between.

    A file or a folder that has taken its name stays, and the checkpoint no longer counts.

    Args:
        manifest: The directory's manifest.
        record: The checkpoint's record.
        may: Returns whether it may be deleted, given its record as it is while no other process can change it.
        leftovers: Deletes the file.
        why: The reason, for the log.

    Returns:
        False if the checkpoint stays, or if somebody else has deleted it.
    """
    known, changed, paths = _replaced(record), dict[str, Any](), [record.path]

    def facts_of(now: Record) -> dict[str, Any]:
        if now.status.on_disk and may(now):
            # Its file may have been replaced by its weights alone since the record was read.
            other = known if (now.digest, now.replacement) == (record.digest, record.replacement) else _replaced(now)
            changed["status"] = Status.DELETED
            paths[:] = [now.path]  # it may have been compressed since
            if other is not None:
                changed.update(error=str(other), absent=True)
        return changed

    manifest.amend(record.id, facts_of)
    if not changed:
        return False
    if "error" in changed:
        log.warning("%s; it is not deleted, because it is not the checkpoint that was saved", changed["error"])
    elif leftovers.remove(paths[0]):
        manifest.gone_files.note([record.id])
        log.info("deleted %s: %s", record.file, why)
    return True


def delete_leftovers(manifest: Manifest, leftovers: Leftovers) -> None:
    """Try again to delete what could not be deleted earlier."""
    if gone := leftovers.retry():
        deleted = [record for record in list(manifest.records.values()) if record.status is Status.DELETED]
        manifest.gone_files.note(record.id for record in deleted if record.path in gone)


def find_failed_deletions(manifest: Manifest) -> list[Record]:
    """Return the records of deleted checkpoints whose file still exists and is not another file of the same name."""
    named = {record.file for record in manifest.live()}
    gone = [r for r in list(manifest.records.values()) if r.status is Status.DELETED and r.file not in named]
    gone = [r for r in gone if r.error is None and not r.absent]
    return [r for r in gone if os.path.lexists(r.path) and _replaced(r) is None]


def _replaced(record: Record) -> VerifyError | None:
    """Return the evidence that another file may have the checkpoint's name; None if there is none."""
    try:
        require_same(record)
    except VerifyError as error:
        return error
    return None


def _same_names(planned: Record, now: Record) -> bool:
    """Return whether nobody has pinned or tagged the checkpoint since its deletion was planned."""
    return (now.pinned, now.tags) == (planned.pinned, planned.tags)


def move_aliases(view: RunView) -> dict[str, str]:
    """Point ``last``, ``best`` and ``final`` at their checkpoints.

    Args:
        view: The run.

    Returns:
        Why an alias could not be moved, by its name. One that cannot be moved does not hinder the others.
    """
    if not view.has_aliases:
        return {}
    manifest = view.manifest
    known = link_targets(list(manifest.records.values()))
    failed = {}
    for name, record in view.aliases().items():
        try:
            if not move_alias(manifest.layout.dirpath, name, record.file if record else None, known):
                failed[name] = "a file that ckpt_callbacks did not create has that name"
        except OSError as error:
            failed[name] = f"{error.strerror or error}; the next save tries again"
    return failed
