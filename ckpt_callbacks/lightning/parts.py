"""The parts of a Lightning checkpoint."""

from __future__ import annotations

from typing import Any

from ..run.resumed_parts import ResumedParts
from .embedded import without_plateau_steps


def select(checkpoint: dict[str, Any], parts: ResumedParts) -> dict[str, Any]:
    """Return a checkpoint that holds only these parts, in the form that Lightning restores."""
    selected = dict(checkpoint)
    if not parts.optimizer:
        selected |= {"optimizer_states": [], "lr_schedulers": []}
        states = checkpoint.get("callbacks", {})
        selected["callbacks"] = {key: without_plateau_steps(state) for key, state in states.items()}
    if not parts.step:
        for key in ("loops", "callbacks"):
            selected.pop(key, None)
        selected |= {"global_step": 0, "epoch": 0}
    return selected
