"""Deletions that a crash interrupted, and checkpoints that a power loss left in the staging folder."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from ..errors import VerifyError
from ..record import Record, Status
from ..store.commit import commit, remove
from ..store.digest import size_on_disk, verify
from ..store.manifest import Manifest
from .listed_again import list_again
from .repair import Repair
from .unnamed import names_in_use, records_of_unnamed, staged_names

_ASIDE = re.compile(r"(.+?)(?:-v\d+)?\.deleted$")


def find_unfinished_deletions(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair for each checkpoint that the journal calls deleted, and whose bytes still exist.

    The deletion is completed only if the checkpoints that were to remain exist. Otherwise, the checkpoint counts again,
    because a disk may lose a file that it has reported as durable but keep the journal, and a copy of a live run may
    contain a journal that is newer than the checkpoints. A checkpoint whose deletion is known to be complete was put
    back; see `find_returned`.
    """
    survivors = _Survivors(manifest)
    named = names_in_use(manifest)
    staged = staged_names(manifest)
    set_aside = [parts[1] for name in staged if (parts := _ASIDE.match(name))]
    for record in (*manifest.records.values(), *records_of_unnamed(manifest, set_aside)):
        # A later checkpoint may have taken the name since.
        if record.status is not Status.DELETED or record.file in named:
            continue
        if os.path.lexists(record.path):
            if not record.absent and is_intact(record):  # otherwise, another program has taken the name
                yield _finish(manifest, record, survivors)
        elif (aside := _set_aside(manifest, record, staged)) is not None and not survivors.replace(record):
            yield Repair(
                f"{record.file}: its deletion was interrupted, and a checkpoint that was to remain is not intact",
                "moved back, because its bytes verify",
                partial(_move_back, manifest, record, aside),
            )


def note_finished(manifest: Manifest) -> None:
    """Note which deletions are complete, although the journal does not say so.

    A crash came before that, or an earlier version wrote the journal.
    """
    deleted = [r for r in list(manifest.records.values()) if r.status is Status.DELETED and not r.absent]
    with contextlib.suppress(OSError):  # unless the folder can be listed, nothing is known
        there = {*os.listdir(manifest.layout.dirpath)} if deleted else set()
        aside = tuple(name for name in staged_names(manifest) if name.endswith(".deleted"))
        gone = [r for r in deleted if not _is_there(r, there) and not any(name.startswith(r.file) for name in aside)]
        manifest.gone_files.note(record.id for record in gone)


def _is_there(record: Record, names: Collection[str]) -> bool:
    """Return whether a checkpoint exists, given the names in the run directory."""
    return os.path.lexists(record.path) if "/" in record.file else record.file in names


def find_lost_renames(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair for each checkpoint that the journal calls committed, and that is still in the staging folder."""
    names = staged_names(manifest)
    for record in manifest.live():
        if not os.path.lexists(record.path) and (staged := _staged(manifest, record, names)) is not None:
            yield Repair(
                f"{record.file}: is missing, but is in the staging folder",
                "moved into place, because its bytes verify",
                partial(commit, staged, record.path),
            )


class _Survivors:
    """The checkpoints that should remain after a deletion, and a check that they do.

    Args:
        manifest: The manifest.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._intact: dict[int, bool] = {}  # whether the bytes verify, by record id; each is read once

    def replace(self, deleted: Record) -> bool:
        """Return whether all of them exist, and one that is worth at least as much as the deleted one verifies.

        That one may be of a later run, which superseded those of the deleted one's run after the deletion had failed.
        """
        remaining = self._manifest.verified(deleted.run)
        if not remaining or not all(map(has_its_size, remaining)):
            return False
        later = [r for r in self._manifest.live() if r.run != deleted.run and r.id > deleted.id]
        candidates = (*reversed(later), *reversed(remaining))
        return any(_worth(record) >= _worth(deleted) and self._is_intact(record) for record in candidates)

    def _is_intact(self, record: Record) -> bool:
        if record.id not in self._intact:
            self._intact[record.id] = is_intact(record)
        return self._intact[record.id]


def _worth(record: Record) -> tuple[bool, bool]:
    """Return a key that orders checkpoints by their use to a run that is to be resumed."""
    return record.resumable, not record.superseded


def _finish(manifest: Manifest, record: Record, survivors: _Survivors) -> Repair:
    if survivors.replace(record):
        remove_it = partial(remove, record.path, aside=manifest.layout.staging)
        return Repair(f"{record.file}: its deletion was interrupted", "completed", remove_it)
    return Repair(
        f"{record.file}: its deletion was interrupted, and a checkpoint that was to remain is not intact",
        "kept, because its bytes verify",
        partial(list_again, manifest, record),
        changes_only_records=True,
    )


def _move_back(manifest: Manifest, record: Record, aside: Path) -> None:
    commit(aside, record.path)
    list_again(manifest, record)


def _set_aside(manifest: Manifest, record: Record, staged: Collection[str]) -> Path | None:
    """Return the intact folder that `remove` moved to the staging folder in order to delete it, or None."""
    return _find_staged(manifest, record, staged, record.file, ".deleted")


def _staged(manifest: Manifest, record: Record, staged: Collection[str]) -> Path | None:
    """Return the intact file that a save wrote and should have renamed, or None."""
    return _find_staged(manifest, record, staged, f"{record.run}-{record.id}.", "")


def _find_staged(manifest: Manifest, record: Record, staged: Collection[str], start: str, end: str) -> Path | None:
    staging = manifest.layout.staging
    for name in staged:
        found = record.replace(directory=str(staging), file=name)
        if name.startswith(start) and name.endswith(end) and is_intact(found):
            return found.path
    return None


def is_intact(record: Record) -> bool:
    """Return whether a checkpoint exists with the bytes in its record."""
    try:
        verify(record)
    except VerifyError:
        return False
    return True


def has_its_size(record: Record) -> bool:
    """Return whether a checkpoint exists with the size in its record; nothing in it is read."""
    try:
        return size_on_disk(record.path) == record.size
    except OSError:
        return False
