"""The budget of a run: which checkpoints go if all that the rules keep takes too much room."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..record import Record
from .metric import Metric
from .plan import Plan
from .ranking import alias_targets, newest_resumable, ranked_records
from .retention import KeepBest, Retention, best_by


@dataclass(frozen=True)
class Fitted:
    """The plan of a run within a budget.

    Attributes:
        plan: Which records survive.
        gone: The ids of the records that the rules keep, but the budget does not.
        over: Bytes by which those that never go still exceed the budget; 0 if they fit.
    """

    plan: Plan
    gone: frozenset[int] = frozenset()
    over: int = 0


def protected(records: Sequence[Record], best: Metric | None) -> dict[int, str]:
    """Return why records never go for the sake of the budget, by the id of each such record.

    Args:
        records: The records of a run that have a file.
        best: The metric that decides which checkpoint is ``best``.
    """
    found = {record.id: f"tagged {record.tags[0]}" for record in records if record.tags}
    found |= {record.id: "pinned" for record in records if record.pinned}
    targets = {"newest resumable": newest_resumable(records)} | alias_targets(records, best)
    return found | {record.id: name for name, record in targets.items() if record is not None}


def removal_order(
    retention: Retention, records: Sequence[Record], best: Metric | None = None, needed: Collection[int] = ()
) -> list[Record]:
    """Return the records that may go to make room, in the order in which they go.

    First those that a resume has superseded, oldest first. Then those that no `KeepBest` keeps, oldest first. Then the
    others, from the worst to the best. These never go: pinned and tagged records, the newest verified record that a
    run can continue from, and the targets of ``last``, ``best`` and ``final``.

    Args:
        retention: The retention rules.
        records: The records that the rules keep, in any order.
        best: The metric that decides which checkpoint is ``best``; by default that of the first `KeepBest`.
        needed: The ids of further records that never go.
    """
    ordered = sorted(records, key=lambda record: record.id)
    stay = {*needed, *protected(ordered, best or best_by(retention))}
    places: dict[int, int] = {}
    for rule in (part for part in retention.parts() if isinstance(part, KeepBest)):
        for by in rule.metrics():
            for place, record in enumerate(ranked_records(ordered, by)[: rule.n]):
                places[record.id] = min(place, places.get(record.id, place))

    def rank(record: Record) -> tuple[bool, bool, int, int]:
        place = places.get(record.id)
        return not record.superseded, place is not None, -(place or 0), record.id

    return sorted((record for record in ordered if record.id not in stay), key=rank)


def fit(
    plan: Plan,
    retention: Retention,
    max_total_size: int,
    *,
    best: Metric | None = None,
    incoming: int = 0,
    needed: Collection[int] = (),
) -> Fitted:
    """Return a plan under which the checkpoints of a run fit into a budget.

    Args:
        plan: What the rules keep.
        retention: The retention rules.
        max_total_size: Bytes that all checkpoints of the run may take together.
        best: The metric that decides which checkpoint is ``best``; by default that of the first `KeepBest`.
        incoming: Bytes of a checkpoint that is about to be written.
        needed: The ids of further records that never go.
    """
    total = incoming + sum(record.size for record in plan.keep)
    gone: set[int] = set()
    for record in removal_order(retention, plan.keep, best, needed):
        if total <= max_total_size:
            break
        gone.add(record.id)
        total -= record.size
    keep = tuple(record for record in plan.keep if record.id not in gone)
    remove = tuple(sorted((*plan.remove, *(r for r in plan.keep if r.id in gone)), key=lambda record: record.id))
    reasons = {record.id: plan.reasons[record.id] for record in keep}
    thin = tuple(record for record in plan.thin if record.id not in gone)
    needs = {record.id: plan.needs[record.id] for record in keep}
    return Fitted(Plan(keep, remove, reasons, thin, needs), frozenset(gone), max(0, total - max_total_size))
