"""A save to carry out, from the request on the training thread to the worker."""

from __future__ import annotations

from dataclasses import dataclass

from ..record import Record
from .snapshot import Snapshot


@dataclass(frozen=True)
class SaveJob:
    """A save to carry out.

    Attributes:
        save: The `Save.id` that it answers.
        draft: The part of the record that is known before the file is written, with its id from `Committer.new_id`.
        asked: When the save was requested, on the run's clock.
        batches: See `Event`.
        carries_metrics: True if the draft's metrics were measured at an earlier event, probably with the same weights.
        snapshot: What to write; None if `unchanged` or `failed` is set.
        unchanged: The id of another record of the same event. It holds this state, or will when its save is done. The
            draft's reasons are added to that record, and nothing is written.
        failed: Why no snapshot could be taken.
        blocked: Seconds that training waited for the snapshot; None if it waits for the file.
    """

    save: int
    draft: Record
    asked: float
    batches: int | None = None
    carries_metrics: bool = False
    snapshot: Snapshot | None = None
    unchanged: int | None = None
    failed: Exception | None = None
    blocked: float | None = None
