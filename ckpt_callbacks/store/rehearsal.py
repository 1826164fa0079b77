"""A manifest whose changes stay in memory, with which repairs are rehearsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .manifest import Manifest


class Rehearsal(Manifest):
    """A copy of a manifest as it is now. Nothing is written, and later entries of the journal are not read.

    Args:
        manifest: The manifest.
    """

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest.layout.dirpath)
        self.problems, self._highest = list(manifest.problems), manifest._highest
        self.records, self.attempts = dict(manifest.records), list(manifest.attempts)
        self.history = manifest.history
        self._live = {record.id: record for record in manifest.live()}

    def refresh(self) -> None:
        """Do nothing."""

    def _append(self, entry_of: Callable[[], Mapping[str, Any] | None]) -> None:
        entry = entry_of()
        if entry is not None:
            self._take(entry)
