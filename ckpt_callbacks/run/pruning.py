"""The aliases and the retention rules, carried out in a run directory."""

from __future__ import annotations

import logging

from ..record import Record, Status
from ..store.aliases import move_alias
from ..store.commit import remove
from ..store.manifest import Manifest
from .view import RunView

log = logging.getLogger("ckpt_callbacks")


def prune(view: RunView) -> list[Record]:
    """Delete the checkpoints of a run that no retention rule keeps; those of other runs stay.

    Args:
        view: The run, with a policy.

    Returns:
        The records whose checkpoints were deleted.
    """
    removed = view.plan().remove
    for record in removed:
        delete(view.manifest, record)
    return list(removed)


def delete(manifest: Manifest, record: Record) -> None:
    """Delete one checkpoint. The journal records this first, so that recovery can recognise a crash in between."""
    manifest.change(record.id, status=Status.DELETED)
    remove(record.path, aside=manifest.layout.staging)
    log.info("deleted %s", record.file)


def move_aliases(view: RunView) -> list[str]:
    """Point ``last``, ``best`` and ``final`` at their checkpoints.

    Args:
        view: The run.

    Returns:
        The names taken by files that this package did not create; those files were left alone.
    """
    manifest = view.manifest
    known = {record.file for record in list(manifest.records.values())}
    refused = []
    for name, record in view.aliases().items():
        if not move_alias(manifest.layout.dirpath, name, record.file if record else None, known):
            refused.append(name)
    return refused
