"""The condition of a checkpoint, in the words that all commands and messages use."""

from __future__ import annotations

import os

from ..record import Record, Status


def condition(record: Record) -> str:
    """Return the status of a record, or ``missing`` or ``damaged`` if it has failed, but was good once."""
    if record.status is Status.FAILED and "verified" in record.timings:
        return "damaged" if os.path.exists(record.path) else "missing"
    return record.status.value
