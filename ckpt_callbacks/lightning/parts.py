"""The parts of a Lightning checkpoint."""

from __future__ import annotations

from typing import Any

from ..run.resumed_parts import ResumedParts


def select(checkpoint: dict[str, Any], parts: ResumedParts) -> dict[str, Any]:
    """Return a checkpoint that holds only these parts, in the form that Lightning restores."""
    selected = dict(checkpoint)
    if not parts.optimizer:
        selected |= {"optimizer_states": [], "lr_schedulers": []}
        states = checkpoint.get("callbacks", {})  # ours has steps of schedulers that Lightning would have taken later
        selected["callbacks"] = {k: {**s, "owed": []} if "owed" in s else s for k, s in states.items()}
    if not parts.step:
        for key in ("loops", "callbacks"):
            selected.pop(key, None)
        selected |= {"global_step": 0, "epoch": 0}
    return selected
