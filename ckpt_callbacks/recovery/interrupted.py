"""What a training that was cut off left half done is finished, or undone, when its directory is opened again."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial

from ..errors import RecoveryError, Unreadable, VerifyError
from ..record import Record, Status
from ..store.commit import remove
from ..store.digest import verify
from ..store.manifest import Manifest
from .rebuild import lost
from .repair import Repair

log = logging.getLogger("ckpt_callbacks")


def recover(manifest: Manifest) -> list[str]:
    """Bring the directory and its manifest together; only the holder of the training lock may call it.

    Where the manifest is gone, or its end is, it is rebuilt from what the checkpoints say of themselves (see `lost`).
    Then see `half_done`.

    Returns:
        One line for each thing that was done.

    Raises:
        RecoveryError: the disk failed. What was done until then is done, and the next call does the rest.
    """
    done = []
    with _disk(manifest):
        for wrong in (lost, half_done):
            for repair in list(wrong(manifest)):
                repair.carry_out()
                done.append(repair.what)
    return done


def half_done(manifest: Manifest) -> Iterator[Repair]:
    """What a killed training left half done.

    Leftovers of our own staging are removed. A checkpoint whose rename the journal does not know of is adopted when its
    bytes match the intent, else the save is marked as failed. A deletion that the journal knows of is finished.
    Files that the manifest does not name are not touched.
    """
    staging = manifest.layout.staging
    if staging.is_dir() and any(staging.iterdir()):
        yield Repair("a checkpoint was only half written; what there was of it is removed", lambda: _empty(staging))
    for record in list(manifest.records.values()):
        if record.status in (Status.WRITING, Status.COMMITTED):
            yield from _finish_save(manifest, record)
        elif record.status is Status.DELETED and _is_leftover(manifest, record):
            yield Repair(
                f"{record.file}: its deletion was cut off, and is finished now",
                partial(remove, record.path, aside=staging),
            )


def write_off(manifest: Manifest, damaged: dict[int, VerifyError], best: Callable[[], Record | None]) -> None:
    """Let what is missing or damaged count no longer: neither as best, nor in a place that a good one could have.

    Args:
        manifest: The manifest. damaged: what is known not to verify, by id; `best` leaves it out. Afterwards it holds
            what cannot be read alone: this training does without it, and the next one looks at it again.
        best: The record that ranks first; it is verified, and the next one is, until one does.

    Raises:
        RecoveryError: the disk failed.
    """
    while (record := best()) is not None:
        try:
            verify(record)
            break
        except VerifyError as error:
            log.warning("%s; the next best one counts", error)
            damaged[record.id] = error
    for record in manifest.live():
        if not os.path.lexists(record.path):
            damaged.setdefault(record.id, VerifyError(f"{record.path}: missing"))
    with _disk(manifest):
        for id_ in [id_ for id_, error in damaged.items() if not isinstance(error, Unreadable)]:
            manifest.change(id_, status=Status.FAILED, error=str(damaged[id_]))
            del damaged[id_]


@contextlib.contextmanager
def _disk(manifest: Manifest) -> Iterator[None]:
    """Errors of the disk as one line of ours."""
    try:
        yield
    except OSError as error:
        raise RecoveryError(
            f"{manifest.layout.dirpath}: what was cut off could not be finished: {error.strerror or error}; try again, "
            "or choose another directory"
        ) from error


def _empty(staging: os.PathLike[str]) -> None:
    shutil.rmtree(staging, ignore_errors=True)


def _finish_save(manifest: Manifest, record: Record) -> Iterator[Repair]:
    def change(**facts: object) -> Callable[[], object]:
        return lambda: manifest.change(record.id, **facts)

    try:
        verify(record)
    except Unreadable as error:
        log.warning("%s; its save was cut off, and is looked at again the next time", error)
    except VerifyError as error:
        # It was never reported as saved. What lies there under its name may be somebody else's by now.
        said = "cut off before the file was in place" if record.status is Status.WRITING else f"cut off: {error}"
        yield Repair(f"{record.file}: its save was cut off", change(status=Status.FAILED, error=said))
    else:
        yield Repair(
            f"{record.file}: its save was cut off after the file was in place; it verifies, and is kept",
            change(status=Status.VERIFIED),
        )


def _is_leftover(manifest: Manifest, record: Record) -> bool:
    # A later checkpoint may have taken the name; and what was put there by somebody else is theirs.
    taken = any(other.file == record.file and other.status.on_disk for other in list(manifest.records.values()))
    if taken or not os.path.lexists(record.path):
        return False
    try:
        verify(record)
    except VerifyError:
        return False
    return True
