"""The change of one checkpoint into another form, such as a compressed one, which gets a name of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..formats.packed.packing import Packing, native_facts
from ..formats.packed.suffix import is_packed, native_name
from ..record import Record
from ..store.aliases import reader_suffix
from ..store.commit import commit, free_name
from ..store.manifest import Manifest
from ..store.replacement import undone
from ..store.succession import announced, finish, settle, succeeded, successor
from .staged_file import StagedFile, is_as_planned


class Repacking:
    """One change of form. It changes no bit of what the native file holds.

    Args:
        manifest: The run directory's manifest.
        record: The record of the checkpoint.
        packing: The form that it gets.
    """

    def __init__(self, manifest: Manifest, record: Record, packing: Packing) -> None:
        self._manifest, self._record, self._packing = manifest, record, packing
        self._intent: dict[str, Any] = {}  # the change that this object has announced

    def carry_out(self, may: Callable[[], bool] = lambda: True) -> Record | None:
        """Write the new file, read all of it back, record it, and delete the old one.

        Args:
            may: Asked again and again, and last while no other process can change the journal: whether to go on.

        Returns:
            The changed record, which still names the old file if too little was gained; None if the checkpoint was
            deleted, pinned, tagged or rewritten meanwhile.

        Raises:
            MissingDependency: A library that it takes is not installed.
            OSError: The disk is full, or broken.
            Stopped: ``may`` said no.
            StoreError: It is in another form, or cannot get this one.
            VerifyError: The checkpoint is damaged, or what was written is.
        """
        record = self._record
        if not self._packing.takes(record):
            raise StoreError(f"{record.path}: is not {self._from}; only these can be {self._packing.done}")
        if record.replacement:  # an earlier attempt was interrupted, or another process is at work
            now = settle(self._manifest, record.id)
            return now if self._is_done(now) else None
        native = Path(native_name(record.file)).suffix
        with StagedFile(self._manifest, record, f"{native}{self._packing.suffix}", may) as staged:
            try:
                staged.verify_source()
                found, size = self._write(staged)
                gain = 1 - size / max(record.size, 1)
                if gain < self._packing.least:
                    now = self._manifest.amend(record.id, lambda now: self._noted(now, gain))
                    return now if is_as_planned(now, record) else None
                staged.go_on()
                self._manifest.amend(record.id, lambda now: self._announced(now, found, size))
                if not self._intent:
                    return None
                now = self._manifest.amend(record.id, lambda now: self._succeeded(now, staged.path, may))
            except BaseException:
                if self._intent:
                    self._settle()
                raise
        if self._is_done(now):
            now = finish(self._manifest, now.id)
        return now if self._is_done(now) else None

    @property
    def _from(self) -> str:
        return "a native file" if self._packing.suffix else "in shards"

    def _is_done(self, now: Record) -> bool:
        """Return whether a checkpoint has the form that it is to get."""
        suffix = self._packing.suffix
        return now.file.endswith(suffix) if suffix else not is_packed(now.file)

    def _write(self, staged: StagedFile) -> tuple[str, int]:
        """Write the new file, read it back, and return its digest and its size."""
        record, native = self._record, native_facts(self._record)
        self._packing.write(record, staged.path, staged.go_on)
        found = staged.flushed()
        staged.read_back(found)
        if self._packing.check(staged.path, staged.go_on) != native:
            raise StoreError(f"{staged.path}: does not hold the bytes of {native_name(record.file)}")
        return found

    def _noted(self, now: Record, gain: float) -> dict[str, Any]:
        return {"compressed": {"gain": round(gain, 4)}} if is_as_planned(now, self._record) else {}

    def _announced(self, now: Record, found: str, size: int) -> dict[str, Any]:
        """Return the change that announces the new file; none if somebody has changed the checkpoint."""
        if is_as_planned(now, self._record) and not now.replacement:
            native = native_name(now.file)
            suffix = reader_suffix(native)
            name = free_name(now.path.parent, native.removesuffix(suffix), f"{suffix}{self._packing.suffix}")
            self._intent = announced(name, found, size, self._packing.facts(*native_facts(now)))
        return self._intent

    def _succeeded(self, now: Record, staged: Path, may: Callable[[], bool]) -> dict[str, Any]:
        """Move the new file into place, and return the change that makes it the checkpoint.

        No other process can change the journal meanwhile, so nobody deletes, pins or repairs the checkpoint.
        """
        new = successor(now)
        if new is None or now.replacement != self._intent["replacement"]:  # a start has undone it
            return {}
        if not is_as_planned(now, self._record) or not may():
            return undone()
        commit(staged, new.path)
        return succeeded(now)

    def _settle(self) -> None:
        """Finish what was begun if the new file is in place, or else take back this object's announcement.

        What another process has announced, and has not done yet, is left to it.
        """
        with contextlib.suppress(OSError, StoreError):  # the next start finishes it; the old file still counts
            settle(self._manifest, self._record.id)
            mine = self._intent["replacement"]
            self._manifest.amend(self._record.id, lambda now: undone() if now.replacement == mine else {})
