"""The run state that is embedded in each checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..events import Event
from ..policy.engine import decide
from ..policy.policy import Policy
from ..policy.state import State
from ..record import Record, Status, check_version
from ..store.manifest import Manifest

VERSION = 1


def embed_state(
    state: State, run: str, attempt: int, *, newest: Record | None, saving: bool, records: Mapping[int, int]
) -> dict[str, Any]:
    """Return what a checkpoint has to contain so that its run can be continued, as plain JSON values.

    Args:
        state: The engine's state after the event that requested the save.
        run: Identifies the run.
        attempt: Number of the start of this run.
        newest: The checkpoint's own record if one is being saved, otherwise the run's last record.
        saving: True if ``newest`` is the checkpoint's own record.
        records: The record id of each requested save, by `Save.id`.
    """
    return {
        "version": VERSION,
        "state": state.to_json(),
        "run": run,
        "attempt": attempt,
        "record": newest.id if newest is not None else None,
        "save": max(state.pending, default=None) if saving else None,
        "under_way": {str(id_): records.get(id_) for id_ in state.pending},
    }


def restore_state(embedded: Mapping[str, Any], policy: Policy, manifest: Manifest, dirpath: Path) -> State:
    """Return the engine's state for a run that continues from a checkpoint.

    Args:
        embedded: What `embed_state` returned when the checkpoint was written.
        policy: The current policy, which may differ from the one with which the checkpoint was written.
        manifest: The run directory's manifest, which shows the outcomes of the saves that were pending.
        dirpath: The run directory, for messages.

    Raises:
        ResumeError: The checkpoint was written by a newer version.
        StoreError: The records of the saves that were pending cannot be read.
    """
    check_version(embedded.get("version"), VERSION, f"{dirpath}: the checkpoint")
    state = State.from_json(embedded["state"])
    # The checkpoint exists, so the save that made it succeeded. Older saves may still have been pending at that time.
    records, counted = embedded.get("under_way", {}), set()
    for save_id in tuple(state.pending):
        id_ = records.get(str(save_id))
        record = manifest.recall(id_) if id_ is not None else None
        kept = record is not None and (record.status.on_disk or record.status is Status.DELETED)
        saved = save_id == embedded["save"] or kept
        # Two saves may share one file, which blocked training only once.
        blocked = record.timings.get("blocked") if record is not None and record.id not in counted else None
        if record is not None:
            counted.add(record.id)
        outcome = Event.saved(save_id, blocked=blocked) if saved else Event.dropped(save_id, "interrupted")
        state, _ = decide(policy, state, outcome)
    return state
