"""What a training that was cut off left half done is finished, or undone, when its directory is opened again."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable

from .errors import VerifyError
from .record import Record, Status
from .store.commit import remove
from .store.digest import verify
from .store.manifest import Manifest

log = logging.getLogger("ckpt_callbacks")


def recover(manifest: Manifest) -> list[str]:
    """Bring the directory and its manifest together; only the holder of the training lock may call it.

    Leftovers of our own staging are removed. A checkpoint whose rename the journal does not know of is adopted when its
    bytes match the intent, else the save is marked as failed. A deletion that the journal knows of is finished.
    Files that the manifest does not name are not touched.

    Returns:
        One line for each thing that was done.
    """
    done = []
    shutil.rmtree(manifest.layout.staging, ignore_errors=True)
    for record in list(manifest.records.values()):
        if record.status is Status.WRITING:
            done.append(_finish_save(manifest, record))
        elif record.status is Status.COMMITTED:
            done += _finish_verification(manifest, record)
        elif record.status is Status.DELETED and _is_leftover(manifest, record):
            remove(record.path, aside=manifest.layout.staging)
            done.append(f"{record.file}: its deletion was cut off, and is finished now")
    return done


def write_off(manifest: Manifest, damaged: dict[int, str], best: Callable[[], Record | None]) -> None:
    """Let what is missing or damaged count no longer: neither as best, nor in a place that a good one could have.

    Args:
        manifest: The manifest. damaged: what is known not to verify, by id; `best` leaves it out. Empty afterwards.
        best: The record that ranks first; it is verified, and the next one is, until one does.
    """
    while (record := best()) is not None:
        try:
            verify(record)
            break
        except VerifyError as error:
            log.warning("%s; the next best one counts", error)
            damaged[record.id] = str(error)
    for record in manifest.live():
        if not os.path.lexists(record.path):
            damaged.setdefault(record.id, f"{record.path}: missing")
    for id_, error in damaged.items():
        manifest.change(id_, status=Status.FAILED, error=error)
    damaged.clear()


def _finish_save(manifest: Manifest, record: Record) -> str:
    if _is_intact(record):
        manifest.change(record.id, status=Status.VERIFIED)
        return f"{record.file}: its save was cut off after the file was in place; it verifies, and is kept"
    manifest.change(record.id, status=Status.FAILED, error="cut off before the file was in place")
    return f"{record.file}: its save was cut off"


def _finish_verification(manifest: Manifest, record: Record) -> list[str]:
    try:
        verify(record)
    except VerifyError as error:
        # It was never reported as saved. What lies there under its name may be somebody else's by now.
        manifest.change(record.id, status=Status.FAILED, error=f"cut off before it was verified: {error}")
        return [f"{record.file}: its save was cut off, and it does not verify: {error}"]
    manifest.change(record.id, status=Status.VERIFIED)
    return []


def _is_leftover(manifest: Manifest, record: Record) -> bool:
    # A later checkpoint may have taken the name; and what was put there by somebody else is theirs.
    taken = any(other.file == record.file and other.status.on_disk for other in manifest.records.values())
    return not taken and os.path.lexists(record.path) and _is_intact(record)


def _is_intact(record: Record) -> bool:
    with contextlib.suppress(VerifyError):
        verify(record)
        return True
    return False
