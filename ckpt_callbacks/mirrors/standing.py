"""The state of one mirror: what it holds, what it lacks, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CkptError, first_line
from ..policy.metric import Metric
from ..policy.ranking import best_record, last_record
from ..record import Record
from ..remote.object_store import ObjectStore
from .catalog import Catalog
from .cost import Prices
from .lost_entries import lost_entries
from .notes import Notes
from .reading import read_catalog
from .wanted import Wishes, newest_first, records_now, reduced, to_send


@dataclass(frozen=True)
class Standing:
    """What is known of a mirror. What a command cannot know is None.

    Attributes:
        url: Its URL.
        records: How many checkpoints it holds; those that it has lost do not count.
        size: Their bytes.
        missing: How many checkpoints its rules want there, and are not; None without rules.
        missing_size: Their bytes, as they are here.
        is_reduced: Whether fewer of these bytes are sent, because less is needed of a checkpoint there.
        newest_step: The step of its newest checkpoint; None as well if that is not known.
        resume_step: The step of its newest checkpoint to resume from.
        is_former: Whether it was a mirror of an earlier start of training, and is none of the newest one.
        sent: When this directory sent the last checkpoint, in UTC seconds since 1970.
        error: Why it cannot be read now, or what failed last; empty if nothing.
        is_read: Whether it could be read now.
        writes: Requests of this directory that wrote or listed.
        reads: Requests of this directory that read.
        monthly: What it costs in a month, in the currency of the prices.
        restore: What it costs to download what a resume on an empty machine needs.
        price: Since when, and by whom, the price is known.
    """

    url: str
    records: int | None = None
    size: int | None = None
    missing: int | None = None
    missing_size: int | None = None
    is_reduced: bool = False
    newest_step: int | None = None
    resume_step: int | None = None
    is_former: bool = False
    sent: float | None = None
    error: str = ""
    is_read: bool = False
    writes: int = 0
    reads: int = 0
    monthly: float | None = None
    restore: float | None = None
    price: str = ""


def standing(
    store: ObjectStore,
    notes: Notes,
    local: Sequence[Record],
    wishes: Wishes | None,
    best: Metric | None,
    prices: Prices,
) -> Standing:
    """Return the state of one mirror of a run directory.

    Args:
        store: Its store.
        notes: What is known about it in the directory.
        local: The checkpoints of the directory.
        wishes: What it is to hold; None if that is not known.
        best: The metric that decides which checkpoint is the best.
        prices: What stores charge.
    """
    status = notes.status
    found: dict[str, Any] = {
        "sent": status.get("time"), "error": status.get("error") or "", "writes": status.get("writes", 0),
        "reads": status.get("reads", 0),
    }  # fmt: skip
    try:
        whole = read_catalog(store)[0] or Catalog(writer="")
        catalog = lost_entries(store, whole, {record.id for record in local}).left_of(whole)
    except CkptError as error:
        return Standing(store.url, **{**found, "error": first_line(error)})
    sizes = {entry.record.id: entry.record.size for entry in catalog.entries}
    found |= {"records": len(sizes), "size": sum(sizes.values()), "is_read": True}
    if (newest := last_record(catalog.records)) is not None:
        found["newest_step"] = newest.known("step")
    if (usable := next(iter(newest_first(catalog)), None)) is not None:
        found["resume_step"] = usable.record.known("step")
    if wishes is not None:
        lacking = to_send(wishes, catalog, local, records_now(catalog, local))
        found |= {"missing": len(lacking), "missing_size": sum(record.size for record, _ in lacking)}
        found["is_reduced"] = any(reduced(record, needed) is not None for record, needed in lacking)
    return Standing(store.url, **found, **_cost(store.url, prices, status, catalog, best))


def unread(url: str, notes: Notes, error: CkptError) -> Standing:
    """Return the state of a mirror whose store cannot be opened."""
    return Standing(url, sent=notes.status.get("time"), error=first_line(error))


def _cost(
    url: str, prices: Prices, status: Mapping[str, Any], catalog: Catalog, best: Metric | None
) -> Mapping[str, Any]:
    price = prices.of(url)
    if price is None:
        return {}
    size = sum(entry.record.size for entry in catalog.entries)
    span = time.time() - status.get("since", time.time())
    monthly = price.storage(size) + price.requests(status.get("writes", 0), status.get("reads", 0), span)
    newest = next(iter(newest_first(catalog)), None)
    top = best_record([record for record in catalog.records if record.status.on_disk], best)
    needed = {one.id: one.size for one in (newest.record if newest is not None else None, top) if one is not None}
    return {
        "monthly": monthly, "restore": price.download(sum(needed.values())),
        "price": f"{price.date}, {price.source}" if price.source else price.date,
    }  # fmt: skip
