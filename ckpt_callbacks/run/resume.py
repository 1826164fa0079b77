"""What a checkpoint carries so that a run can be continued from it, as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..events import Event
from ..policy.engine import decide
from ..policy.policy import Policy
from ..policy.state import State
from ..record import Status
from ..store.manifest import Manifest
from ..versions import check_version

VERSION = 1


def snapshot_of(
    state: State, run: str, attempt: int, *, record: int | None, under_way: bool, records: Mapping[int, int]
) -> dict[str, Any]:
    """What a checkpoint carries.

    Args:
        state: Of the engine, after the event that asked for the save. run, attempt: which start of which run.
        record: The id of the checkpoint's own record; else of the last one. under_way: it is its own.
        records: The record of each save that was asked for.
    """
    return {
        "version": VERSION,
        "state": state.to_json(),
        "run": run,
        "attempt": attempt,
        "record": record,
        "save": max(state.pending, default=None) if under_way else None,
        "under_way": {str(id_): records.get(id_) for id_ in state.pending},
    }


def state_from(snapshot: Mapping[str, Any], policy: Policy, manifest: Manifest, dirpath: Path) -> State:
    """The engine's state with which a run goes on that was continued from a checkpoint.

    Raises:
        ResumeError: the snapshot was written by a newer version.
    """
    check_version(snapshot.get("version"), VERSION, f"{dirpath}: the checkpoint")
    state = State.from_json(snapshot["state"])
    # The checkpoint exists, so the save that made it succeeded. Older ones were still written when it was taken.
    records, counted = snapshot.get("under_way", {}), set()
    for save_id in tuple(state.pending):
        record = manifest.records.get(records.get(str(save_id)))
        kept = record is not None and (record.status.on_disk or record.status is Status.DELETED)
        saved = save_id == snapshot["save"] or kept
        # Two saves may have come to one file, which training stood still for once.
        blocked = record.timings.get("blocked") if record is not None and record.id not in counted else None
        if record is not None:
            counted.add(record.id)
        outcome = Event.saved(save_id, blocked=blocked) if saved else Event.dropped(save_id, "interrupted")
        state, _ = decide(policy, state, outcome)
    return state
