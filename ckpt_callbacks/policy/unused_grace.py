"""A grace period that has no effect, because the policy answers no signal."""

from __future__ import annotations

from ..settings import Settings
from .policy import Policy


def unused_grace(policy: Policy, settings: Settings) -> str:
    """Return in one line why ``grace`` has no effect, and what to do; empty if it has one, or is the default."""
    if policy.saves_on_preempt or settings.grace == Settings.grace:
        return ""
    return (
        f"grace is {settings.grace:g} s, but has no effect, because the policy saves for no signal; expected OnPreempt "
        "(on_preempt in a file) in save"
    )
