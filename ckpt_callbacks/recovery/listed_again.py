"""Checkpoints that did not count, and that are listed again because their bytes are there."""

from __future__ import annotations

from typing import Any

from ..record import Record, Status
from ..store.manifest import Manifest
from .lineage import supersede


def list_again(manifest: Manifest, record: Record, **facts: Any) -> None:
    """List a deleted or failed checkpoint as verified, unless its status is another one by now.

    Args:
        manifest: The manifest.
        record: The checkpoint's record.
        **facts: Further facts to change.
    """
    changed = {"status": Status.VERIFIED, "error": None, "absent": False, **facts}
    manifest.amend(record.id, lambda now: changed if now.status is record.status else {})
    # The branches that were taken meanwhile did not mark checkpoints that did not count.
    saved = (r for r in manifest.records.values() if r.status.on_disk or r.status is Status.DELETED)
    newest = max(saved, key=lambda record: record.id)
    supersede(manifest, newest.run, newest.attempt)
