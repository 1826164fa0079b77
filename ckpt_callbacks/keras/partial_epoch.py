"""The metrics of an epoch that was resumed midway, some of which may cover only its last batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from pathlib import Path

log = logging.getLogger("ckpt_callbacks")


class PartialEpoch:
    """The metrics of an epoch that was resumed midway. Its validation metrics are always complete.

    Args:
        path: The checkpoint, which was taken in this epoch.
        restored: Whether the model's metrics were restored, so that they cover the whole epoch.
        collects: Whether another callback may compute metrics from what it sees in each batch.

    Attributes:
        restored: As given; may change.
        has_left_out: Whether any metric was left out.
    """

    def __init__(self, path: Path, *, restored: bool, collects: bool) -> None:
        self._path, self.restored, self._collects = path, restored, collects
        self.has_left_out = False
        self._measured: set[str] = set()  # the names of the model's metrics

    def leave_out(self, logs: MutableMapping[str, float]) -> None:
        """Remove the model's metrics if they cover only the last batches. Call it before all other callbacks."""
        if not self.restored:
            self._remove(logs, logs)
        self._measured = set(logs)

    def leave_out_collected(self, logs: MutableMapping[str, float]) -> None:
        """Remove metrics that callbacks have added, because they may cover only the last batches."""
        if self._collects:
            self._remove(logs, logs.keys() - self._measured)

    def _remove(self, logs: MutableMapping[str, float], names: Iterable[str]) -> None:
        partial = sorted(name for name in names if not name.startswith("val_") and name != "learning_rate")
        for name in partial:
            del logs[name]
        if partial:
            self.has_left_out = True
            log.warning(
                "%s: the epoch was resumed midway, so its %s may cover only its last batches, and the policy leaves it "
                "out", self._path, ", ".join(partial),
            )  # fmt: skip
