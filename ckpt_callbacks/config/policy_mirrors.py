"""The mirrors that are given for a whole policy, beside its rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from ..policy.mirror import Mirror, as_mirrors, check_ranking
from ..policy.policy import Policy
from ..policy.retention import Retention
from .containers import built_in
from .mirror_node import read_rules

# This order is for LightningCLI, whose parser would turn a mapping or a list into text if a path came first.
MirrorLike = dict[str, Any] | Mirror | str | PathLike[str]
MirrorsLike = Sequence[MirrorLike] | MirrorLike

_NAME = "mirrors"


def with_mirrors(policy: Policy, given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return settings with a tuple of `Mirror` in place of whatever form the mirrors among them have.

    Args:
        policy: The policy of the run.
        given: The settings.
        name: The first word of an error message.

    Raises:
        ConfigError: The rules of a mirror are wrong.
        PolicyError: A mirror is wrong, or ranks by a metric that the policy does not read.
    """
    if _NAME not in given:
        return dict(given)
    value = given[_NAME]
    if isinstance(value, Mapping):
        value = _with_rules(value, f"{name}: {_NAME}", policy)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = [_with_rules(item, f"{name}: {_NAME}[{number}]", policy) for number, item in enumerate(value)]
    mirrors = as_mirrors(name, value)
    check_ranking(name, mirrors, policy)
    return {**given, _NAME: mirrors}


def _with_rules(mirror: Any, where: str, policy: Policy) -> Any:
    """Return a mapping of the arguments of a mirror with its rules read, if they are plain values as in a file."""
    rules = mirror.get("keep") if isinstance(mirror, Mapping) else None
    if isinstance(rules, Sequence) and not isinstance(rules, str):
        is_plain = not any(isinstance(rule, Retention) for rule in rules)
    else:
        is_plain = isinstance(rules, Mapping | str)
    return {**mirror, "keep": read_rules(where, built_in(rules), policy)} if is_plain else mirror
