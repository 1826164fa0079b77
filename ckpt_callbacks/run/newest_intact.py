"""The newest checkpoint to continue from whose bytes are intact, and what was found damaged meanwhile."""

from __future__ import annotations

from ..record import Record
from ..recovery.interrupted import mark_damaged
from .pruning import move_aliases
from .view import RunView


def newest_intact(view: RunView, mark: bool) -> Record | None:
    """Return the newest checkpoint that a run can continue from and that passes verification; None if there is none.

    Args:
        view: The run's checkpoints.
        mark: Whether to record as failed what is damaged; this process must be the primary one.
    """
    newest = next(view.verified_resumable(), None)
    if mark:
        mark_known(view)
    return newest


def mark_known(view: RunView) -> None:
    """Record as failed what is known to be damaged, so that it is listed as damaged, and a mirror may replace it."""
    if view.damaged:
        mark_damaged(view.manifest, view.damaged, lambda: None)
        move_aliases(view)  # before another file takes the place of one to which a link leads
