"""The links of a run directory: ``last``, ``best`` and ``final``."""

from __future__ import annotations

import logging
from pathlib import Path

from ..store.aliases import read_alias
from . import pruning
from .view import RunView

log = logging.getLogger("ckpt_callbacks")


class Links:
    """Keeps the links of one run up to date.

    Args:
        dirpath: The run directory.
        view: The run.
    """

    def __init__(self, dirpath: Path, view: RunView) -> None:
        self._dirpath, self._view = dirpath, view
        self._refused: dict[str, str] = {}  # links that could not be moved, with the reason that was logged

    def move(self) -> None:
        """Point the links at their checkpoints. A failure is logged once."""
        failed = pruning.move_aliases(self._view)
        for name, why in failed.items():
            if self._refused.get(name) != why:
                log.warning("%s: cannot create the %r link: %s", self._dirpath, name, why)
        self._refused = failed

    def follow_policy(self) -> None:
        """Move the links as this policy requires it, and log what becomes of ``best``."""
        known = {record.file for record in self._view.manifest.records.values()}
        before = read_alias(self._dirpath, "best", known)
        self.move()
        best = self._view.best()
        if before is not None and before != (best.file if best else None):
            log.warning(
                "%s: the policy has changed, so best is no longer %s, but %s", self._dirpath, before,
                best.file if best else f"none: {self._view.why_no_best()}",
            )  # fmt: skip
