"""Moving names, ``last``, ``best`` and ``final``: relative links beside the checkpoints.

A link carries the suffix of what it points to (``best.keras``), because frameworks choose a reader by it. Where links
do not exist, a small text file (``best.pointer``) holds the name. Links are for people; the package itself asks the
manifest.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

NAMES = ("last", "best", "final")
_POINTER = ".pointer"


def move_alias(dirpath: Path, name: str, file: str | None, ours: Collection[str]) -> bool:
    """Point ``name`` at ``file``, in one atomic step; with None, remove it.

    Args:
        dirpath: The run directory. name: the alias. file: the checkpoint's name in that directory.
        ours: Names of all files that the manifest created; a link to anything else is left alone.

    Returns:
        False where somebody else's file has the name.
    """
    moved = _point(dirpath, name, file, _suffix(file), ours) if file is not None else None
    for stale in _links(dirpath, name):  # only now, so that there is no moment without the alias
        if stale != moved and _target(stale) in ours:
            stale.unlink(missing_ok=True)
    return moved is not None or file is None


def read_alias(dirpath: Path, name: str, ours: Collection[str]) -> str | None:
    """The file that ``name`` points to, or None. ``ours`` as in `move_alias`."""
    found = [link for link in _links(dirpath, name) if _target(link) in ours]
    # There are two where a crash came between a new suffix and the removal of the old link.
    newest = max(found, key=lambda link: link.lstat().st_mtime_ns, default=None)
    return _target(newest) if newest is not None else None


def pointed_at(dirpath: Path) -> set[str]:
    """What the links that have the names of aliases point to, whoever made them."""
    return {target for name in NAMES for link in _links(dirpath, name) if (target := _target(link)) is not None}


def _point(dirpath: Path, name: str, file: str, suffix: str, ours: Collection[str]) -> Path | None:
    """Have ``name`` point at ``file``; returns the link, or None where somebody else's file has its name."""
    link = dirpath / f"{name}{suffix}"
    if os.path.lexists(link) and _target(link) not in ours:
        return None
    if _target(link) == file:
        return link
    draft = dirpath / f".{link.name}.new"
    draft.unlink(missing_ok=True)
    try:
        os.symlink(file, draft)
    except (OSError, NotImplementedError):
        link = dirpath / f"{name}{_POINTER}"
        if _target(link) == file:
            return link
        draft.write_text(file, encoding="utf-8")
    os.replace(draft, link)
    return link


def _suffix(file: str) -> str:
    return ".weights.h5" if file.endswith(".weights.h5") else Path(file).suffix


def _links(dirpath: Path, name: str) -> list[Path]:
    return [path for path in (*dirpath.glob(f"{name}.*"), dirpath / name) if _target(path) is not None]


def _target(path: Path) -> str | None:
    """What a link or a pointer names; None for any other file, and for what is not there."""
    try:
        if path.is_symlink():
            return os.readlink(path)
        return path.read_text(encoding="utf-8").strip() if path.suffix == _POINTER else None
    except (OSError, UnicodeDecodeError):
        return None
