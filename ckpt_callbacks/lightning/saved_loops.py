"""The state of Lightning's loops in a checkpoint, corrected for the place at which it was taken.

Lightning writes the counters that its loops have within a hook, which say that things are due, or done, that are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mark_epoch_complete(loops: dict[str, Any]) -> None:
    """Correct the ``loops`` of a checkpoint that was taken at an epoch's end, so that the epoch counts as completed.

    Lightning counts the epoch only after its hooks, and would finish it a second time on resume.
    """
    progress = loops["fit_loop"]["epoch_progress"]
    for part in ("total", "current"):
        progress[part] = dict.fromkeys(progress[part], progress[part]["processed"])


def mark_validation_due(loops: dict[str, Any], progress: dict[str, Any]) -> None:
    """Correct the ``loops`` of a checkpoint that was taken between a batch and the end of the validation after it.

    The batch counts as completed, but the epoch and the validation do not.

    Args:
        loops: What Lightning would write.
        progress: The validation's progress before it began.
    """
    loops["fit_loop"]["epoch_loop.val_loop.batch_progress"] = progress
    _complete_batch(loops)


def mark_epoch_trained(loops: dict[str, Any]) -> None:
    """Correct the ``loops`` of a checkpoint that was taken between an epoch's last batch and the epoch's last hook.

    The batch counts as completed, and the epoch does not.
    """
    fit_loop = loops["fit_loop"]
    if not _epoch_is_ending(fit_loop["epoch_progress"]["current"]):
        fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] += 1  # Lightning does that after the batch's hooks
    _complete_batch(loops)


def leave_out_begun_batch(loops: dict[str, Any], was_cut_short: bool) -> None:
    """Correct the ``loops`` of a checkpoint that was taken when a batch had begun, which is not trained yet.

    Otherwise, Lightning prepares the validation before that batch again on resume, which draws random numbers. It also
    takes an epoch whose last batch had begun for a complete one, as well as one that was cut short.

    Args:
        loops: What Lightning would write.
        was_cut_short: Whether training ended within the epoch.
    """
    if was_cut_short or _epoch_is_ending(loops["fit_loop"]["epoch_progress"]["current"]):
        _mark_epoch_running(loops)
    progress = loops["fit_loop"]["epoch_loop.batch_progress"]
    progress["is_last_batch"] &= progress["current"]["ready"] == progress["current"]["processed"]
    for part in ("total", "current"):
        progress[part]["ready"] = progress[part]["started"] = progress[part]["processed"]


def _complete_batch(loops: dict[str, Any]) -> None:
    """Count the last batch as completed, but not its epoch."""
    batches = loops["fit_loop"]["epoch_loop.batch_progress"]
    for part in ("total", "current"):
        batches[part]["completed"] = batches[part]["processed"]
    _mark_epoch_running(loops)


def _mark_epoch_running(loops: dict[str, Any]) -> None:
    """Count the last epoch of these ``loops`` as one that has begun, and is not done."""
    progress = loops["fit_loop"]["epoch_progress"]
    for part in ("total", "current"):
        progress[part]["processed"] = progress[part]["completed"] = progress[part]["ready"] - 1


def _epoch_is_ending(current: Mapping[str, int]) -> bool:
    return current["processed"] > current["completed"]
