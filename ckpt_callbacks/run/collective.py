"""The part of a save that all processes of a training run carry out together.

The primary process writes. If the state cannot be copied, every process takes part in each attempt to write it: the
primary process announces the path before it writes, and announces None when it will not write again.
"""

from __future__ import annotations

from pathlib import Path

from ..formats import Written
from ..runtime.processes import Processes
from .snapshot import LiveSnapshot, Snapshot


def announce(processes: Processes, snapshot: Snapshot | None) -> Snapshot | None:
    """Tell the other processes whether they have to write too. Called on the primary process.

    Args:
        processes: The processes of the training run.
        snapshot: This process's snapshot; None if none could be taken.

    Returns:
        The snapshot to write. Writing it makes the other processes write as well if they have to.
    """
    live = processes.broadcast(snapshot is not None and snapshot.live)
    if snapshot is None or not live or processes.is_single:
        return snapshot

    def write(path: Path) -> Written:
        processes.broadcast(path)
        return snapshot.write(path)

    return LiveSnapshot(write)


def finish(processes: Processes, snapshot: Snapshot | None) -> None:
    """Tell the other processes that nothing more will be written. Called on the primary process, after the save."""
    if not processes.is_single and snapshot is not None and snapshot.live:
        processes.broadcast(None)


def follow(processes: Processes, snapshot: Snapshot) -> None:
    """Take part in a save that the primary process leads. Called on every other process."""
    live: bool = processes.broadcast(None)
    if not live:  # the primary process has a copy of the whole state
        snapshot.release()
        return
    path: Path | None
    while (path := processes.broadcast(None)) is not None:
        snapshot.write(path)
