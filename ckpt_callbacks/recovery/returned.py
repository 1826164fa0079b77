"""Checkpoints that no longer count, and whose file somebody has put back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

from ..record import Record, Status
from ..store.manifest import Manifest
from .deletions import has_its_size, is_intact
from .listed_again import list_again
from .renamed import find_renamed
from .repair import Repair
from .unnamed import names_in_use, records_of_unnamed


def find_returned(manifest: Manifest, *, thoroughly: bool = False) -> Iterator[Repair]:
    """Yield a repair for each checkpoint whose file was gone, and is back in its place with its bytes.

    One that had been deleted is pinned as well, because whoever puts it back wants to keep it.

    Args:
        manifest: The manifest.
        thoroughly: Whether to read files that were damaged as well, and other files that may hold the bytes of a
            missing one.
    """
    named = names_in_use(manifest)
    for record in (*reversed(list(manifest.records.values())), *records_of_unnamed(manifest)):
        if record.file in named or not _was_good(record):
            continue
        if os.path.lexists(record.path):
            may_be_back = record.absent or (thoroughly and record.status is Status.FAILED)
            if may_be_back and has_its_size(record) and is_intact(record):
                named.add(record.file)
                yield _listed_again(manifest, record)
        elif thoroughly and record.status is Status.FAILED and (found := find_renamed(manifest, record, named)):
            yield found


def _was_good(record: Record) -> bool:
    # A save that failed has a digest, too, but its bytes were never good.
    return record.status is Status.DELETED or record.is_spoiled


def _listed_again(manifest: Manifest, record: Record) -> Repair:
    if record.status is Status.DELETED and record.error is None:  # otherwise, another program had removed it
        was, remedy, apply = "deleted", "listed again and pinned", partial(list_again, manifest, record, pinned=True)
    else:
        was, remedy = "missing" if record.absent else "damaged", "listed again"
        apply = partial(list_again, manifest, record)
    return Repair(f"{record.path}: was {was}, and is intact now", remedy, apply, changes_only_records=True)
