"""The compression of one checkpoint, which gets a name of its own."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import StoreError, VerifyError
from ..formats.compressed.format import compressed
from ..formats.compressed.opened import check_whole
from ..formats.compressed.suffix import SUFFIX, is_compressed
from ..policy.compression import LEAST_GAIN
from ..record import Record, Status
from ..store.aliases import reader_suffix
from ..store.commit import commit, flush, free_name, remove
from ..store.digest import digest
from ..store.manifest import Manifest
from ..store.private_files import make_folder
from ..store.replacement import undone, verify_now
from ..store.succession import announced, finish, settle, succeeded, successor
from .rewriting import Stopped


class Compressing:
    """One compression. It changes no bit of what the native file holds.

    Args:
        manifest: The run directory's manifest.
        record: The record of the checkpoint.
        least: The part of the bytes that it has to gain.
    """

    def __init__(self, manifest: Manifest, record: Record, least: float = LEAST_GAIN) -> None:
        self._manifest, self._record, self._least = manifest, record, least
        self._intent: dict[str, Any] = {}  # the change that this object has announced

    def carry_out(self, may: Callable[[], bool] = lambda: True) -> Record | None:
        """Write the compressed file, read all of it back, record it, and delete the native one.

        Args:
            may: Asked again and again, and last while no other process can change the journal: whether to go on.

        Returns:
            The changed record, which still names the native file if too little was gained; None if the checkpoint was
            deleted, pinned, tagged or rewritten meanwhile.

        Raises:
            MissingDependency: The library that compresses is not installed.
            OSError: The disk is full, or broken.
            Stopped: ``may`` said no.
            StoreError: It is not a native file.
            VerifyError: The checkpoint is damaged, or what was written is.
        """
        record, layout = self._record, self._manifest.layout
        if is_compressed(record.file) or not record.path.is_file():
            raise StoreError(f"{record.path}: is not a native file; only these can be compressed")
        if record.replacement:  # an earlier attempt was interrupted, or another process is at work
            now = settle(self._manifest, record.id)
            return now if is_compressed(now.file) else None
        make_folder(layout.staging)
        staged = layout.staging / f"{record.run}-{record.id}.thin-{uuid.uuid4().hex[:8]}{record.path.suffix}{SUFFIX}"

        def go_on(*_: object) -> None:
            if not may():
                raise Stopped

        try:
            # Damage must not be copied into a file with a good digest.
            verify_now(self._manifest, record, from_device=True, progress=go_on)
            found, size = self._write(staged, go_on)
            gain = 1 - size / max(record.size, 1)
            if gain < self._least:
                now = self._manifest.amend(record.id, lambda now: self._noted(now, gain))
                return now if self._is_unchanged(now) else None
            go_on()
            self._manifest.amend(record.id, lambda now: self._announced(now, found, size))
            if not self._intent:
                return None
            now = self._manifest.amend(record.id, lambda now: self._succeeded(now, staged, may))
        except BaseException:
            if self._intent:
                self._settle()
            raise
        finally:
            with contextlib.suppress(OSError):  # the next start empties the folder
                remove(staged)
        if is_compressed(now.file):
            now = finish(self._manifest, now.id)
        return now if is_compressed(now.file) else None

    def _write(self, staged: Path, go_on: Callable[..., None]) -> tuple[str, int]:
        """Write the compressed file, read it back, and return its digest and its size."""
        from ..formats.compressed.writer import compress  # here, because it needs numpy

        record = self._record
        facts = record.replace(digest="", size=0, identity="", compressed=compressed(record.digest, record.size))
        if compress(record.path, staged, {"record": facts.to_json()}, go_on) != (record.digest, record.size):
            raise VerifyError(f"{record.path}: its bytes changed while it was compressed")
        flush(staged)
        found = digest(staged, progress=go_on)
        if digest(staged, from_device=True, progress=go_on) != found:
            raise StoreError(f"{staged}: its bytes changed on the way to the disk")
        if check_whole(staged, go_on) != (record.digest, record.size):
            raise StoreError(f"{staged}: does not hold the bytes of {record.file}")
        return found

    def _noted(self, now: Record, gain: float) -> dict[str, Any]:
        return {"compressed": {"gain": round(gain, 4)}} if self._is_unchanged(now) else {}

    def _announced(self, now: Record, found: str, size: int) -> dict[str, Any]:
        """Return the change that announces the new file; none if somebody has changed the checkpoint."""
        if self._is_unchanged(now) and not now.replacement:
            suffix = reader_suffix(now.file)
            name = free_name(now.path.parent, now.file.removesuffix(suffix), f"{suffix}{SUFFIX}")
            self._intent = announced(name, found, size, compressed(now.digest, now.size))
        return self._intent

    def _succeeded(self, now: Record, staged: Path, may: Callable[[], bool]) -> dict[str, Any]:
        """Move the new file into place, and return the change that makes it the checkpoint.

        No other process can change the journal meanwhile, so nobody deletes, pins or repairs the checkpoint.
        """
        new = successor(now)
        if new is None or now.replacement != self._intent["replacement"]:  # a start has undone it
            return {}
        if not self._is_unchanged(now) or not may():
            return undone()
        commit(staged, new.path)
        return succeeded(now)

    def _is_unchanged(self, now: Record) -> bool:
        planned = self._record
        same = (now.file, now.digest, now.pinned, now.tags) == (planned.file, planned.digest, False, planned.tags)
        return same and now.status in (Status.VERIFIED, Status.THINNED)

    def _settle(self) -> None:
        """Finish what was begun if the new file is in place, or else take back this object's announcement.

        What another process has announced, and has not done yet, is left to it.
        """
        with contextlib.suppress(OSError, StoreError):  # the next start finishes it; the native file still counts
            settle(self._manifest, self._record.id)
            mine = self._intent["replacement"]
            self._manifest.amend(self._record.id, lambda now: undone() if now.replacement == mine else {})
