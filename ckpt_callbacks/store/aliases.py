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


def move_alias(dirpath: Path, name: str, file: str | None, suffix: str, ours: Collection[str]) -> None:
    """Point ``name`` at ``file``, in one atomic step; with None, remove it.

    Args:
        dirpath: The run directory. name: the alias. file: the checkpoint's name in that directory.
        suffix: The checkpoint's suffix, such as ``.weights.h5``.
        ours: Names of all files that the manifest created; a link to anything else is left alone.
    """
    wanted = f"{name}{suffix}" if file is not None else None
    for stale in (*dirpath.glob(f"{name}.*"), dirpath / name):
        if stale.name != wanted and _is_ours(stale, ours):
            stale.unlink(missing_ok=True)
    if wanted is None:
        return
    link = dirpath / wanted
    if os.path.lexists(link) and not _is_ours(link, ours):
        return  # somebody else's file has that name
    if link.is_symlink() and os.readlink(link) == file:
        return
    draft = dirpath / f".{wanted}.new"
    draft.unlink(missing_ok=True)
    try:
        os.symlink(file, draft)
    except (OSError, NotImplementedError):
        draft.write_text(file, encoding="utf-8")
        link = dirpath / f"{name}{_POINTER}"
    os.replace(draft, link)


def _is_ours(path: Path, ours: Collection[str]) -> bool:
    if path.is_symlink():
        return os.readlink(path) in ours
    return path.suffix == _POINTER and path.is_file()
