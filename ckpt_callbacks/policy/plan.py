"""The plan of a run: which checkpoints survive, and how much of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..record import Record, Status
from .contents import FULL, Contents
from .contents_order import holds, holds_more, joined
from .metric import Metric
from .ranking import alias_targets, newest_resumable
from .retention import Retention, best_by


@dataclass(frozen=True)
class Plan:
    """The decision of `plan`: which records survive, and why.

    Attributes:
        keep: The records that survive, in the order of their ids.
        remove: All others.
        reasons: Why a record survives, by its id.
        thin: The verified records of `keep` that hold more than anything needs of them.
        needs: What is needed of each record of `keep`, by its id. The larger contents win.
    """

    keep: tuple[Record, ...]
    remove: tuple[Record, ...]
    reasons: Mapping[int, tuple[str, ...]]
    thin: tuple[Record, ...] = ()
    needs: Mapping[int, Contents] = field(default_factory=dict)


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
    wanted: dict[int, list[Contents]] = defaultdict(list)
    for rule in retention.parts():
        needs = rule.needs()
        for kept, reason in rule.kept(ordered):
            reasons[kept.id].append(reason if needs is None else f"{reason}: {needs}")
            wanted[kept.id].append(FULL if needs is None else needs)
    for record in ordered:
        if record.pinned:
            reasons[record.id].append("pinned")
            wanted[record.id].append(FULL)
    targets = alias_targets(ordered, best or best_by(retention)) | {"newest resumable": newest_resumable(ordered)}
    for reason, target in targets.items():
        if target is not None:
            reasons[target.id].append(reason)
            # The best one may hold less if a rule says so, and so may the newest ones if no run resumes from them. The
            # one with which a fit has ended may be compressed: no run that was interrupted waits for it.
            is_resumed = reason != "best" and target.contents == "full"
            if target.id not in wanted or (
                is_resumed and not (target.final and holds(joined(wanted[target.id]), FULL))
            ):  # fmt: skip
                wanted[target.id].append(FULL)
    needed = {id_: joined(contents) for id_, contents in wanted.items()}
    return Plan(
        keep=tuple(record for record in ordered if record.id in reasons),
        remove=tuple(record for record in ordered if record.id not in reasons),
        reasons={id_: tuple(dict.fromkeys(why)) for id_, why in reasons.items()},
        thin=tuple(record for record in ordered if record.id in needed and _is_to_thin(record, needed[record.id])),
        needs=needed,
    )


def needs_names(retention: Retention) -> bool:
    """Return whether a rule needs a part of the weights that only the training run can tell from the others."""
    needs = [needed for rule in retention.parts() if (needed := rule.needs()) is not None]
    return any(needed.source is not None or needed.weights != "all" for needed in needs)


def _is_to_thin(record: Record, needed: Contents) -> bool:
    if needed == FULL or record.status not in (Status.VERIFIED, Status.THINNED):  # nothing holds more than all
        return False
    return holds_more(record, needed)
