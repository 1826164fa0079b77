"""Checkpoints that share one file under several names, as hard links."""

from __future__ import annotations

import os

from ..record import Record
from ..store.identity import identity
from ..store.manifest import Manifest


class Twins:
    """Keeps the identities of such checkpoints up to date: a file changes its own when it gets or loses a name.

    With an outdated one, nothing is lost, but the whole file is read before it is deleted.

    Args:
        manifest: The run directory's manifest.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._ids: dict[str, set[int]] = {}  # of those that this process has linked, by digest
        self._files: dict[str, tuple[int, ...]] = {}  # what tells their file from any other, by digest

    def note(self, *records: Record) -> None:
        """Note that the records share one file."""
        digest = records[0].digest
        self._ids.setdefault(digest, set()).update(record.id for record in records)
        if (found := _file(records[0])) is not None:
            self._files[digest] = found
        self.renew(digest)

    def renew(self, digest: str) -> None:
        """Record the present identity of the file with this digest, whose names have changed."""
        for id_ in sorted(self._ids.get(digest, ())):
            record = self._manifest.records.get(id_)
            if record is None or not self._manifest.counts(id_):
                self._ids[digest].discard(id_)
            elif _file(record) == self._files.get(digest) and (now := identity(record.path)) != record.identity:
                self._manifest.change(id_, identity=now)
        if not self._ids.get(digest):
            self._ids.pop(digest, None)
            self._files.pop(digest, None)


def _file(record: Record) -> tuple[int, ...] | None:
    try:
        found = os.stat(record.path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
