"""The compaction of a run's journal, so that it does not grow with the number of deleted checkpoints."""

from __future__ import annotations

import logging
from functools import partial

from ..errors import StoreError
from ..recovery.settled import settled
from ..store.manifest import Manifest

log = logging.getLogger("ckpt_callbacks")

_MOST = 256
_SHARE = 4  # on average, a save causes at most this many of the other records to be written again


class Compaction:
    """Compacts the journal of a run directory. Only the holder of the training lock may use it.

    Args:
        manifest: The directory's manifest.

    Attributes:
        most: The number of deleted and failed records by which the journal grows before it is compacted.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest, self.most = manifest, _MOST
        self._left = 0  # how many such records were left after the last compaction
        self._has_failed = False

    def begin(self) -> None:
        """Compact the journal if it has enough records to move. If this fails, log it once, and try again later."""
        manifest = self._manifest
        live = len(manifest.live())  # the more there are, the longer it takes
        if len(manifest.records) - live < self._left + max(self.most, live // _SHARE):
            return
        try:
            manifest.compact(partial(settled, manifest))
        except (OSError, StoreError) as error:
            if not self._has_failed:
                log.warning(
                    "%s: could not be compacted: %s; nothing is lost, but it grows with each save",
                    manifest.layout.journal, getattr(error, "strerror", None) or error,
                )  # fmt: skip
            self._has_failed = True
        else:
            self._has_failed = False
        self._left = len(manifest.records) - len(manifest.live())
