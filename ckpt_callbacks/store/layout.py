"""The layout of a run directory: checkpoints at its top, private files in ``.ckpt/``."""

from __future__ import annotations

from pathlib import Path

PRIVATE = ".ckpt"


class Layout:
    """The paths of one run directory.

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
        self.private = dirpath / PRIVATE
        self.journal = self.private / "manifest.jsonl"
        self.history = self.private / "history.jsonl"
        self.journal_lock = self.private / "manifest.lock"
        self.training_lock = self.private / "training.lock"
        self.owner = self.private / "owner.json"
        self.save_now = dirpath / "SAVE_NOW"
        self.staging = self.private / "staging"


def require_inside(file: object) -> None:
    """Raise `ValueError` unless this names a file directly in the run directory, because retention deletes by name."""
    if not isinstance(file, str) or file in ("", ".", "..", PRIVATE) or set(file) & {"/", "\0"}:
        raise ValueError(f"{file!r} is not the name of a file in the run directory")
