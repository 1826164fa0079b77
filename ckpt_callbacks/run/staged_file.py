"""The new file of a checkpoint that is rewritten, until it takes the old one's place."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable

from ..errors import StoreError
from ..record import Record, Status
from ..store.commit import flush, remove
from ..store.digest import digest
from ..store.manifest import Manifest
from ..store.private_files import make_folder
from ..store.replacement import verify_now


class Stopped(Exception):
    """The caller wants no file to be replaced any more."""


class StagedFile:
    """A file in the staging folder, which is deleted at the end of the context unless it was moved away.

    Args:
        manifest: The run directory's manifest.
        record: The record of the checkpoint that is rewritten.
        suffix: The suffix of the new file.
        may: Asked again and again: whether to go on.

    Attributes:
        path: Where to write it.
    """

    def __init__(self, manifest: Manifest, record: Record, suffix: str, may: Callable[[], bool]) -> None:
        self._manifest, self._record, self._may = manifest, record, may
        name = f"{record.run}-{record.id}.thin-{uuid.uuid4().hex[:8]}{suffix}"
        self.path = manifest.layout.staging / name

    def __enter__(self) -> StagedFile:
        make_folder(self.path.parent)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the next start empties the folder
            remove(self.path)

    def go_on(self, *_: object) -> None:
        """Raise `Stopped` unless the caller wants to go on."""
        if not self._may():
            raise Stopped

    def verify_source(self) -> None:
        """Read the checkpoint from the device: damage must not be copied into a file with a good digest.

        Raises:
            VerifyError: It is damaged.
        """
        verify_now(self._manifest, self._record, from_device=True, progress=self.go_on)

    def flushed(self) -> tuple[str, int]:
        """Force what was written to the device, and return its digest and its size."""
        flush(self.path)
        return digest(self.path, progress=self.go_on)

    def read_back(self, written: tuple[str, int]) -> None:
        """Compare what is on the device with the digest and the size of what was written.

        Raises:
            StoreError: They differ.
        """
        if digest(self.path, from_device=True, progress=self.go_on) != written:
            raise StoreError(f"{self.path}: its bytes changed on the way to the disk")


def is_as_planned(now: Record, planned: Record) -> bool:
    """Return whether a checkpoint may still be rewritten as planned: nobody has pinned, tagged or changed it.

    Args:
        now: Its record now.
        planned: Its record before the new file was written.
    """
    same = (now.file, now.digest, now.pinned, now.tags) == (planned.file, planned.digest, False, planned.tags)
    return same and now.status in (Status.VERIFIED, Status.THINNED)
