"""The plan of a run: which checkpoints survive, and how much of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..record import Record, Status
from .contents import Contents
from .metric import Metric
from .ranking import alias_targets, newest_resumable
from .retention import Retention, best_by

_WEIGHTS = Contents("weights")


@dataclass(frozen=True)
class Plan:
    """The decision of `plan`: which records survive, and why.

    Attributes:
        keep: The records that survive, in the order of their ids.
        remove: All others.
        reasons: Why a record survives, by its id.
        thin: The verified records of `keep` of which nothing needs more than the weights, although they hold more.
    """

    keep: tuple[Record, ...]
    remove: tuple[Record, ...]
    reasons: Mapping[int, tuple[str, ...]]
    thin: tuple[Record, ...] = ()


def plan(retention: Retention, records: Sequence[Record], *, best: Metric | None = None) -> Plan:
    """Decide which records survive.

    These survive regardless of the rules: pinned records, the newest verified record that a run can continue from, and
    the targets of ``last``, ``best`` and ``final``.

    Args:
        retention: One rule, or several combined with ``|``.
        records: Records that have a file, in any order; the argument is not changed.
        best: The metric that decides which checkpoint is ``best``; by default that of the first `KeepBest`.
    """
    ordered = sorted(records, key=lambda record: record.id)
    reasons: dict[int, list[str]] = defaultdict(list)
    thin: set[int] = set()  # kept by a rule that needs only the weights
    whole: set[int] = set()  # kept by a rule, or for a reason, that needs all of it; the larger contents win
    for rule in retention.parts():
        needs = rule.needs()
        for kept, reason in rule.kept(ordered):
            reasons[kept.id].append(reason if needs is None else f"{reason}: {needs}")
            (thin if needs == _WEIGHTS else whole).add(kept.id)
    for record in ordered:
        if record.pinned:
            reasons[record.id].append("pinned")
            whole.add(record.id)
    targets = alias_targets(ordered, best or best_by(retention)) | {"newest resumable": newest_resumable(ordered)}
    for reason, target in targets.items():
        if target is not None:
            reasons[target.id].append(reason)
            if reason != "best":  # it may hold less if a rule says so
                whole.add(target.id)
    return Plan(
        keep=tuple(record for record in ordered if record.id in reasons),
        remove=tuple(record for record in ordered if record.id not in reasons),
        reasons={id_: tuple(dict.fromkeys(why)) for id_, why in reasons.items()},
        thin=tuple(record for record in ordered if record.id in thin - whole and _holds_more(record)),
    )


def _holds_more(record: Record) -> bool:
    return record.status is Status.VERIFIED and record.contents == "full"
