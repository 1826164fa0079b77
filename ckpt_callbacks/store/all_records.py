"""All records of a run directory, including those of the history."""

from __future__ import annotations

from ..record import Record
from .manifest import Manifest


def all_records(manifest: Manifest) -> list[Record]:
    """Return all records, in the order of their ids, each of them once, even while records move to the history.

    Raises:
        OSError: The history cannot be read.
    """
    known = list(manifest.records.values())  # first, because another thread may move some of them meanwhile
    moved = manifest.history.moved
    found = {(record.run, record.id): record for record in manifest.history.read()}
    if moved.size is None:
        manifest.refresh()
        if manifest.history.moved != moved:  # it was just created, perhaps with records that were not read here
            return all_records(manifest)
        known += list(manifest.records.values())
    found |= {(record.run, record.id): record for record in known}
    return sorted(found.values(), key=lambda record: record.id)
