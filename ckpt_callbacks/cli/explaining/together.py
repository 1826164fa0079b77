"""One policy for several callbacks that write into one directory."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

from ...config.meaning import Meaning, ranked_by
from ...policy.composition import AnyOf
from ...policy.policy import Policy
from ...policy.retention import KeepAll, KeepBest
from ...policy.triggers import Improves
from .explanation import Explanation

_STOPS = "EarlyStopping"


def together(explanations: Sequence[Explanation]) -> list[tuple[list[Explanation], Meaning]]:
    """Return the callbacks that share a directory, with the one policy that says the same.

    Callbacks that stop have no directory: they belong to the first one of their framework.
    """
    found = []
    meant = [one for one in explanations if one.meaning is not None and not one.call.is_own]
    for room in ("lightning", "keras"):
        here = [one for one in meant if one.call.room == room]
        stops = [one for one in here if one.call.name == _STOPS]
        groups: dict[str, list[Explanation]] = {}
        for one in here:
            if one not in stops:
                groups.setdefault(one.directory, []).append(one)
        for group in list(groups.values()) or [[]]:
            members, stops = [*group, *stops], []
            if len(members) > 1:
                found.append((members, _combined([one.meaning for one in members if one.meaning], len(group))))
    return found


def _combined(meanings: Sequence[Meaning], saving: int) -> Meaning:
    """Return one meaning of several.

    Args:
        meanings: The meanings.
        saving: How many of them save; of the others, only the stop counts, and the best one that is restored.
    """
    policies = [one.policy for one in meanings]
    savers = policies[:saving] or policies[:1]
    restored = [rule for one in policies[saving:] for rule in one.keep.parts() if isinstance(rule, KeepBest)]
    saves = [part for one in savers for part in (one.save.parts() if isinstance(one.save, AnyOf) else (one.save,))]
    keeps = [part for one in savers for part in one.keep.parts()]
    stops = [part for one in policies if one.stop is not None for part in one.stop.parts()]
    best = next((one.best_metric for one in savers if one.best_metric is not None), None)
    keep = KeepAll() if KeepAll() in keeps else reduce(operator.or_, _once([*keeps, *restored]))
    policy = Policy(
        save=reduce(
            operator.or_, _once([*saves, *(Improves(metric) for rule in restored for metric in rule.metrics())])
        ),
        keep=keep,
        stop=reduce(operator.or_, _once(stops)) if stops else None,
        best_by=ranked_by(keep, best) if best is not None else None,
    )
    same = {name: value for one in meanings[: saving or 1] for name, value in one.settings.items()}
    settings = {n: v for n, v in same.items() if all(one.settings.get(n) == v for one in meanings[: saving or 1])}
    notes = (
        ("contents: some of them hold only weights: KeepBest(..., contents=Contents('weights'))",)
        if "contents" in same and "contents" not in settings
        else ()
    )
    return Meaning(policy, settings, notes)


def _once(items: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(items))
