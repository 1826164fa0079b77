"""The aliases and the retention rules, carried out in a run directory."""

from __future__ import annotations

import logging

from ..policy.metric import Metric
from ..policy.policy import Policy
from ..policy.ranking import alias_targets
from ..policy.retention import plan
from ..record import Record, Status
from ..store.aliases import move_alias
from ..store.commit import remove
from ..store.manifest import Manifest

log = logging.getLogger("ckpt_callbacks")


def prune(manifest: Manifest, policy: Policy, run: str) -> list[Record]:
    """Delete the checkpoints of a run that no retention rule keeps.

    Args:
        manifest: The run directory's manifest.
        policy: Says what is kept.
        run: Identifies the run; the checkpoints of other runs stay.

    Returns:
        The records whose checkpoints were deleted.
    """
    removed = plan(policy.keep, manifest.verified(run), best=policy.best_metric).remove
    for record in removed:
        delete(manifest, record)
    return list(removed)


def delete(manifest: Manifest, record: Record) -> None:
    """Delete one checkpoint. The journal records this first, so that recovery can recognise a crash in between."""
    manifest.change(record.id, status=Status.DELETED)
    remove(record.path, aside=manifest.layout.staging)
    log.info("deleted %s", record.file)


def move_aliases(manifest: Manifest, run: str, best: Metric | None) -> list[str]:
    """Point ``last``, ``best`` and ``final`` at their checkpoints.

    Args:
        manifest: The run directory's manifest.
        run: Identifies the run.
        best: The metric that ranks ``best``.

    Returns:
        The names taken by files that this package did not create; those files were left alone.
    """
    known = {record.file for record in list(manifest.records.values())}
    refused = []
    for name, record in alias_targets(manifest.verified(run), best).items():
        if not move_alias(manifest.layout.dirpath, name, record.file if record else None, known):
            refused.append(name)
    return refused
