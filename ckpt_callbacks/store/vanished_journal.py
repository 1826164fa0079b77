"""The journal that vanished during training, and the records that a new one must contain."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence

from ..errors import StoreError
from ..record import Record, Status
from .layout import Layout
from .lock import reclaim

log = logging.getLogger("ckpt_callbacks")


def records_after_loss(layout: Layout, records: Mapping[int, Record], live: Sequence[Record]) -> Iterable[Record]:
    """Return the records as they are now: those whose file has vanished as well were deleted by another program.

    Args:
        layout: The paths of the directory.
        records: All records that this process knows, by id.
        live: Those of them whose file should exist.

    Raises:
        StoreError: This process does not train in the directory.
        DirectoryInUse: Another training run has taken the directory since.
    """
    if not reclaim(layout.training_lock):
        raise StoreError(f"{layout.journal}: the manifest vanished; the file or the whole run was deleted")
    lost = {record.id: record for record in live if not os.path.lexists(record.path)}
    if lost and len(lost) == len(live):
        log.warning(
            "%s: the run directory was renamed or deleted during training; training continues in a new one of the "
            "same name, without the earlier checkpoints (%d)", layout.dirpath, len(lost),
        )  # fmt: skip
    else:
        log.warning("%s: the manifest was deleted during training; rewrote it from memory", layout.journal)
        for record in lost.values():
            log.warning("%s: was deleted by another program", record.path)
    deleted = {
        id_: record.replace(status=Status.DELETED, error="deleted by another program", absent=True)
        for id_, record in lost.items()
    }
    return {**records, **deleted}.values()
