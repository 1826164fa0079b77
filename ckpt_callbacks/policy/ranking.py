"""The checkpoints that stand out: the best, the last, the final one, and the one to resume from."""

from __future__ import annotations

from collections.abc import Sequence

from ..record import Record, Status
from .metric import Metric


def ranked_records(records: Sequence[Record], metric: Metric) -> list[Record]:
    """Return the records that have a finite value of the metric, best first, and oldest first among equals."""
    ranks = [(rank, record) for record in records if (rank := metric.rank(record)) is not None]
    return [record for _, record in sorted(ranks, key=lambda pair: pair[0])]


def best_record(records: Sequence[Record], metric: Metric | None) -> Record | None:
    """Return the best record that was not superseded; None if no record has a finite value."""
    if metric is None:
        return None
    return next(iter(ranked_records([r for r in records if not r.superseded], metric)), None)


def last_record(records: Sequence[Record]) -> Record | None:
    """Return the newest record that was not superseded."""
    return max((r for r in records if not r.superseded), key=lambda r: r.id, default=None)


def final_record(records: Sequence[Record]) -> Record | None:
    """Return the newest record of the end of a `fit`, unless it was superseded."""
    return last_record([record for record in records if record.final])


def newest_resumable(records: Sequence[Record]) -> Record | None:
    """Return the newest verified record that a run can continue from."""
    usable = [r for r in records if r.resumable and r.status is Status.VERIFIED and not r.superseded]
    return last_record(usable)


def alias_targets(records: Sequence[Record], best: Metric | None) -> dict[str, Record | None]:
    """Return the record that each alias of a run stands for; the metric ``best`` decides the alias of that name."""
    return {"last": last_record(records), "best": best_record(records, best), "final": final_record(records)}
