"""The contents that are given for a whole policy, beside its rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..policy.contents import Contents, as_contents
from ..policy.policy import Policy

_NAME = "contents"


def separated(policy: Policy, given: Mapping[str, Any], name: str) -> tuple[Policy, dict[str, Any]]:
    """Return a policy whose rules need the contents among some settings, and the settings with the kind alone.

    A save writes the kind. Rules that say themselves what they need stay as they are, and so do all if only the kind is
    given.

    Args:
        policy: The policy.
        given: The settings.
        name: The first word of an error message.

    Raises:
        PolicyError: The contents are wrong.
    """
    if _NAME not in given:
        return policy, dict(given)
    contents = as_contents(name, given[_NAME])
    if contents != Contents(contents.kind):
        policy = replace(policy, keep=policy.keep.with_contents(contents))
    return policy, {**given, _NAME: contents.kind}
