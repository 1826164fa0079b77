"""Where things lie inside a run directory. Checkpoints lie in it directly; what is ours alone lies in ``.ckpt/``."""

from __future__ import annotations

from pathlib import Path

PRIVATE = ".ckpt"


class Layout:
    """The paths of one run directory."""

    def __init__(self, dirpath: Path) -> None:
        self.dirpath = dirpath
        self.private = dirpath / PRIVATE
        self.journal = self.private / "manifest.jsonl"
        self.journal_lock = self.private / "manifest.lock"
        self.training_lock = self.private / "training.lock"
        self.owner = self.private / "owner.json"
        self.save_now = dirpath / "SAVE_NOW"
        self.staging = self.private / "staging"
