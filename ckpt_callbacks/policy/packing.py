"""The checkpoints that rules want compressed, or split into shards."""

from __future__ import annotations

from collections.abc import Iterator

from ..record import Record, Status
from .contents import Contents
from .plan import Plan

LEAST_GAIN = 0.05  # part of the bytes; with ``auto``, what gains less stays native


def to_pack(plan: Plan) -> Iterator[tuple[Record, Contents]]:
    """Yield the records that are to be compressed or split, as they are, with what is needed of them.

    All rules that keep a record have to want it, and what a run would resume from stays native. A record that is to be
    reduced first is left out, and so is one that is no larger than a shard may be.

    Args:
        plan: The plan of a run.
    """
    smaller = {record.id for record in plan.thin}
    for record in plan.keep:
        needed = plan.needs.get(record.id)
        if needed is None or not needed.is_packed or record.id in smaller or record.pinned:
            continue
        if record.status in (Status.VERIFIED, Status.THINNED) and not _is_done(record, needed):
            yield record, needed


def _is_done(record: Record, needed: Contents) -> bool:
    if "codec" in record.compressed or "digest" in record.shards:
        return True
    if needed.split is not None:
        return record.size <= needed.split.max_size
    return needed.compression == "auto" and "gain" in record.compressed


def least_gain(contents: Contents) -> float:
    """Return the part of its bytes that a checkpoint has to gain; less than 0 if it is compressed in any case."""
    return LEAST_GAIN if contents.compression == "auto" else -1.0
