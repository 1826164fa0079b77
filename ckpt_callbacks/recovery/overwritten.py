"""Checkpoints in whose place another one was put, before the journal could say so."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ..record import Record, Status
from ..store.manifest import Manifest
from .repair import Repair


def find_overwritten(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair for each checkpoint that counts although a later one has its name, and so its place."""
    newest: dict[str, Record] = {}
    for record in manifest.live():
        if (older := newest.get(record.file)) is not None:
            yield Repair(
                f"{record.file}: the save that replaced it was interrupted after the new file was in place",
                "the older checkpoint no longer counts",
                partial(manifest.change, older.id, status=Status.DELETED, absent=True),
                changes_only_records=True,
            )
        newest[record.file] = record
