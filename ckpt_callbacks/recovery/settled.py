"""The records that nothing needs any more, so that they may leave the journal."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..record import Record, Status
from ..store.aliases import pointed_at
from ..store.manifest import Manifest
from .unnamed import staged_names

FAILURES = 3  # number of failed saves that `ckpt ls` shows


def settled(manifest: Manifest) -> list[Record]:
    """Return the deleted and failed records of the journal that nothing needs.

    Other records must stay: those whose file, or a link to it, still exists; those from which an attempt has resumed;
    the newest ones of each attempt, which say how far it came; and those whose checkpoint another program deleted,
    because it may bring it back.

    Raises:
        OSError: The directory cannot be listed.
    """
    dirpath = manifest.layout.dirpath
    records = list(manifest.records.values())
    gone = [record for record in records if record.status in (Status.DELETED, Status.FAILED)]
    there = {*os.listdir(dirpath), *pointed_at(dirpath)}
    aside = [name for name in staged_names(manifest) if name.endswith(".deleted")]
    needed = {attempt.parent for attempt in manifest.attempts}
    needed |= {record.id for record in [r for r in gone if r.status is Status.FAILED][-FAILURES:]}
    needed |= _newest(records)
    return [
        record
        for record in gone
        if record.id not in needed
        and record.file not in there
        and not (record.status is Status.DELETED and record.error is not None)
        and not any(name.startswith(record.file) for name in aside)
    ]


def _newest(records: Iterable[Record]) -> set[int]:
    """Return the ids of each attempt's newest records: one of each kind that `ckpt` and the adapters distinguish."""
    newest: dict[tuple[object, ...], int] = {}
    for record in records:
        failed = record.status is Status.FAILED
        kind = (record.run, record.attempt, record.fit, failed, record.superseded, record.final)
        newest[kind] = max(record.id, newest.get(kind, 0))
    return set(newest.values())
