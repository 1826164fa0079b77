"""The runs below a folder, such as the trials of a sweep, with one line for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..formats import format_of
from ..policy.policy import Policy
from ..record import Record
from ..recovery.originals import hint_to_adopt
from ..store.file_lock_calls import is_locked
from ..store.layout import Layout
from ..store.lock import command_at_work
from ..store.manifest import Manifest
from ..units import rough_size
from . import cells
from .places import is_mirror
from .records import Listing

_DEEPEST = 4  # levels of folders that are searched, such as sweep/trial/version/run


def find_runs(path: Path, deepest: int = _DEEPEST) -> Iterator[Path]:
    """Yield a run directory itself, or those below a folder, in the order of their names.

    Args:
        path: A path that the user gave; nothing is found in a file.
        deepest: How many levels of folders are searched.
    """
    return folders_below(path, lambda one: os.path.lexists(Layout(one).journal), deepest)


def find_mirrors(path: Path, deepest: int = _DEEPEST) -> Iterator[Path]:
    """Yield the folders below a folder that hold mirrors; see `find_runs`."""
    return folders_below(path, is_mirror, deepest)


def find_adoptable(path: Path) -> Iterator[Path]:
    """Yield the folders below a folder in which only the frameworks' own callbacks have saved; see `find_runs`."""
    return folders_below(path, lambda one: has_checkpoints(one) and hint_to_adopt(Manifest(one)) != "")


def has_checkpoints(folder: Path) -> bool:
    """Return whether a folder holds a file of any format, as its name says. A folder that cannot be read holds none."""
    names = next(os.walk(folder), ("", [], []))[2]
    return any(format_of(folder / name) for name in names)


def folders_below(path: Path, is_wanted: Callable[[Path], bool], deepest: int = _DEEPEST) -> Iterator[Path]:
    """Yield the folders that are wanted, and nothing below these; see `find_runs`."""
    if is_wanted(path):
        yield path
    elif deepest:
        try:
            below = sorted(entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
        except OSError:  # not a folder, or not readable
            return
        for name in below:
            if not name.startswith("."):
                yield from folders_below(path / name, is_wanted, deepest - 1)


class RunSummary:
    """The state of one run, for a table of several.

    Args:
        run_dir: Its directory, as it is shown.
        manifest: The directory's manifest.
        policy: The policy of its newest start; None if it is not known.
    """

    def __init__(self, run_dir: Path, manifest: Manifest, policy: Policy | None) -> None:
        self._run_dir, self._listing = run_dir, Listing(manifest, policy)
        lock, owner = manifest.layout.training_lock, manifest.layout.owner
        self._is_training = is_locked(lock) and command_at_work(lock, owner) is None
        self._records = self._listing.view.records()
        self._last, self._best = self._listing.view.last(), self._listing.view.best()

    def row(self) -> dict[str, str]:
        """Return the text of each column."""
        last, best = self._last, self._best
        size = sum(record.size for record in self._records)
        return {
            "run": str(self._run_dir),
            "state": "training" if self._is_training else "",
            "saves": str(len(self._records)),
            "step": cells.known(last, "step") if last is not None else "",
            "epoch": cells.known(last, "epoch") if last is not None else "",
            "best": self._value(best) if best is not None else "",
            "at step": cells.known(best, "step") if best is not None else "",
            "size": rough_size(size) if size else "",
            "saved": cells.when(last) if last is not None else "",
        }

    def _value(self, best: Record) -> str:
        """Return the values by which the best checkpoint was ranked, if they are known."""
        measured = self._listing.measured(best)
        if self._listing.view.policy is None and len(measured) > 1:  # the manifest was rebuilt, for example
            return "metric not known"
        return "".join(f"{name}={cells.number(value)}" for name, value in measured)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "run_dir": str(self._run_dir),
            "training": self._is_training,
            "checkpoints": len(self._records),
            "size": sum(record.size for record in self._records),
            "last": self._last.to_json() if self._last is not None else None,
            "best": self._best.to_json() if self._best is not None else None,
        }
