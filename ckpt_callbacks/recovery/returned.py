"""Checkpoints that were written off because their file was missing or damaged, and whose file is intact again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from ..record import Record, Status
from ..store.manifest import Manifest
from .deletions import has_its_size, is_intact
from .lineage import supersede
from .renamed import find_renamed
from .repair import Repair
from .unnamed import records_of_unnamed


def find_lost_and_returned(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair for each checkpoint that was missing, and whose file is back in its place."""
    return find_returned(manifest, only_missing=True)


def find_returned(manifest: Manifest, *, only_missing: bool = False) -> Iterator[Repair]:
    """Yield a repair for each checkpoint that no longer counts although its bytes are there.

    Args:
        manifest: The manifest.
        only_missing: Whether to look only for the file of a checkpoint that was missing, in its place. Otherwise, files
            that were damaged are read as well, and other files that may hold the bytes of a missing one.
    """
    named = {record.file for record in manifest.live()}
    for record in (*reversed(list(manifest.records.values())), *records_of_unnamed(manifest)):
        # A save that failed has a digest, too, but its bytes were never good.
        if record.status is not Status.FAILED or "verified" not in record.timings or record.file in named:
            continue
        if os.path.lexists(record.path):
            was_missing = f"{record.file}: missing" in (record.error or "")
            if (was_missing or not only_missing) and has_its_size(record) and is_intact(record):
                named.add(record.file)
                yield Repair(
                    f"{record.path}: was {'missing' if was_missing else 'damaged'}, and is intact now",
                    "listed again",
                    partial(_list_again, manifest, record),
                    changes_only_records=True,
                )
        elif not only_missing and (found := find_renamed(manifest, record, named)) is not None:
            yield replace(found, apply=partial(_list_renamed, manifest, found))


def _list_again(manifest: Manifest, record: Record) -> None:
    facts = {"status": Status.VERIFIED, "error": None}
    manifest.amend(record.id, lambda now: facts if now.status is Status.FAILED else {})
    _mark_branches(manifest)


def _list_renamed(manifest: Manifest, found: Repair) -> None:
    found.apply()
    _mark_branches(manifest)


def _mark_branches(manifest: Manifest) -> None:
    """Mark which checkpoints are superseded, because the branches that were taken meanwhile did not mark lost ones."""
    saved = (r for r in manifest.records.values() if r.status.on_disk or r.status is Status.DELETED)
    newest = max(saved, key=lambda record: record.id)
    supersede(manifest, newest.run, newest.attempt)
