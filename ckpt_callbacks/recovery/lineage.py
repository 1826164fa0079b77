"""The records that a later start of training has rolled back."""

from __future__ import annotations

from ..policy.lineage import ancestors
from ..record import Record
from ..store.manifest import Manifest


def supersede(manifest: Manifest, run: str, attempt: int) -> None:
    """Mark the records that an attempt rolled back. Call it once the attempt has its first checkpoint."""
    for record in wrongly_marked(manifest, run, attempt):
        manifest.change(record.id, superseded=not record.superseded)


def wrongly_marked(manifest: Manifest, run: str, attempt: int) -> list[Record]:
    """Return the records whose `superseded` flag is wrong for the given attempt."""
    # Including deleted records, because retention may have removed a record of the line since.
    line = ancestors(list(manifest.records.values()), manifest.attempts, run, attempt)
    return [record for record in manifest.live() if record.superseded != (record.id not in line)]
