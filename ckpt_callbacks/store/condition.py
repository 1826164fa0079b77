"""The condition of a checkpoint, in the words that all commands and messages use."""

from __future__ import annotations

import os

from ..errors import StoreError
from ..record import Record

DAMAGED = "damaged"


def condition(record: Record) -> str:
    """Return the status of a record, or ``missing`` or ``damaged`` if it has failed, but was good once."""
    if record.is_spoiled:
        return DAMAGED if os.path.exists(record.path) else "missing"
    return record.status.value


def check_counts(record: Record) -> None:
    """Raise `StoreError` unless a checkpoint exists, as far as its record says."""
    if not record.status.on_disk:
        raise StoreError(
            f"{record.path}: its status is {condition(record)}; expected a checkpoint that is saved, and neither "
            f"deleted nor failed: `ckpt ls {record.directory}` lists them"
        )


def check_exists(record: Record) -> None:
    """Raise `StoreError` unless a checkpoint exists."""
    check_counts(record)
    if not os.path.exists(record.path):
        raise StoreError(
            f"{record.path}: missing; expected a checkpoint that exists: `ckpt ls {record.directory}` lists them"
        )
