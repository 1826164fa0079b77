"""The contents that are given for a whole policy, beside its rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import PolicyError
from ..policy.contents import Contents, as_contents
from ..policy.policy import Policy

_NAME = "contents"


def separated(policy: Policy, given: Mapping[str, Any], name: str) -> tuple[Policy, dict[str, Any]]:
    """Return a policy whose rules need the contents among some settings, and the settings with the kind alone.

    A save writes the kind, or all if the weights of another source are needed, which only a full file has. Rules that
    say themselves what they need stay as they are, and so do all if only the kind is given.

    Args:
        policy: The policy.
        given: The settings.
        name: The first word of an error message.

    Raises:
        PolicyError: The contents are wrong, or do not hold what a rule needs.
    """
    if _NAME not in given:
        return policy, dict(given)
    contents = as_contents(name, given[_NAME])
    if contents != Contents(contents.kind):
        policy = replace(policy, keep=policy.keep.with_contents(contents))
    needs = (rule.needs() for rule in policy.keep.parts())
    source = next((needed.source for needed in needs if needed is not None and needed.source is not None), None)
    if source is not None and contents.kind == "weights" and contents.source is None:
        raise PolicyError(
            f"{name}: contents: 'weights', although a rule needs source={source!r}, which only full checkpoints hold; "
            "expected full"
        )
    return policy, {**given, _NAME: contents.kind if contents.source is None else "full"}
