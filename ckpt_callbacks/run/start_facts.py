"""The facts that a start of training stores about itself in the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..policy.named_only import NAMED
from ..runtime.environment import environment
from .view import RunView


def start_facts(
    view: RunView, framework: str, name: str, described: Mapping[str, Any] | None, mirrors: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the facts that each start of training in a directory stores.

    Args:
        view: The run.
        framework: Identifies who writes the files.
        name: The caller's name.
        described: The policy as plain JSON.
        mirrors: The facts of the mirrors.
    """
    facts: dict[str, Any] = {"host": environment()["host"], "framework": framework}
    if view.max_total_size is not None:
        facts["max_total_size"] = view.max_total_size
    if view.policy is not None and view.policy.names_are_given:
        facts[NAMED] = True
    # Versions that do not know ``framework`` read ``holder``.
    return {**facts, **mirrors, "holder": name, "policy": described}
