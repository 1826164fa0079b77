"""The layout of a run directory: checkpoints at its top, private files in ``.run/``."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = ".run"
_EARLIER = ".ckpt"  # in directories of earlier versions; in `pathlib`, ``glob("*.ckpt")`` finds it


class Layout:
    """The paths of one run directory.

    Args:
        dirpath: The directory.

    Attributes:
        dirpath: The directory.
        private: The folder with the files that are not meant for people.
        journal: The manifest.
        history: The records that have left the manifest.
        journal_lock: The lock that a writer takes for each line.
        training_lock: The lock that a training run holds.
        owner: The file that names the holder's host and process.
        save_now: The file that asks a training run for a save.
        staging: The folder in which checkpoints are written before they are moved into place.
    """

    def __init__(self, dirpath: Path) -> None:
        self.dirpath = dirpath
        self.private = dirpath / (_EARLIER if os.path.isdir(dirpath / _EARLIER) else PRIVATE)  # or it may not be read
        self.journal = self.private / "manifest.jsonl"
        self.history = self.private / "history.jsonl"
        self.journal_lock = self.private / "manifest.lock"
        self.training_lock = self.private / "training.lock"
        self.owner = self.private / "owner.json"
        self.save_now = dirpath / "SAVE_NOW"
        self.staging = self.private / "staging"


def is_run_dir(folder: Path) -> bool:
    """Return whether a folder is a run directory, also one whose manifest is lost."""
    return Layout(folder).private.is_dir()


def require_inside(file: object) -> None:
    """Raise `ValueError` unless this names a file in the run directory, because retention deletes by name."""
    parts = file.split("/") if isinstance(file, str) else [""]
    if parts[0] in (PRIVATE, _EARLIER) or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError(f"{file!r} is not the name of a file in the run directory")
