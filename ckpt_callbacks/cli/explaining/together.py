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

_STOPS, _BACKS_UP = "EarlyStopping", "BackupAndRestore"
_NOT_OF_BACKUPS = ("resume", "contents")  # which are full, and from which the next run continues


def together(explanations: Sequence[Explanation]) -> list[tuple[list[Explanation], Meaning]]:
    """Return the callbacks that share a directory, with the one policy that says the same.

    Callbacks that stop have no directory: they belong to the first ones of their framework. So do those that back up
    beside others that save, because one callback does both here.
    """
    found = []
    meant = [one for one in explanations if one.meaning is not None and not one.call.is_own]
    for room in ("lightning", "keras"):
        here = [one for one in meant if one.call.room == room]
        stops = [one for one in here if one.call.name == _STOPS]
        backups = [one for one in here if one.call.name == _BACKS_UP]
        groups: dict[str, list[Explanation]] = {}
        for one in here:
            if one not in stops and one not in backups:
                groups.setdefault(one.directory, []).append(one)
        for group in list(groups.values()) or [[]]:
            if len(members := [*group, *backups, *stops]) > 1:
                meanings = [one.meaning for one in members if one.meaning]
                found.append((members, _combined(meanings, len(group), len(backups))))
            stops, backups = [], []
    return found


def _combined(meanings: Sequence[Meaning], own: int, backups: int) -> Meaning:
    """Return one meaning of several.

    Args:
        meanings: The meanings.
        own: How many of them save in the directory.
        backups: How many after these save to resume from. Of the others, only the stop counts, and the best one that is
            restored.
    """
    policies, saving = [one.policy for one in meanings], own + backups
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
    members = meanings[: own or 1]
    same = {name: value for one in members for name, value in one.settings.items()}
    settings = {n: v for n, v in same.items() if all(one.settings.get(n) == v for one in members)}
    if own and backups:
        settings = {name: value for name, value in settings.items() if name not in _NOT_OF_BACKUPS}
    arguments = tuple(_once([line for one in meanings for line in one.arguments]))
    if "contents" not in same or "contents" in settings:
        return Meaning(policy, settings, arguments)
    note = "contents: some of them hold only weights: KeepBest(..., contents=Contents('weights'))"
    return Meaning(policy, settings, arguments, (note,))


def _once(items: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(items))
