"""The obstacle that prevents a path from being a directory."""

from __future__ import annotations

import os
from pathlib import Path


def obstruction(dirpath: Path) -> str:
    """Return what is in the way of a directory at this path, as in "is a file"; empty if nothing is.

    Args:
        dirpath: The path, which need not exist.
    """
    first = next((path for path in (dirpath, *dirpath.parents) if os.path.lexists(path)), None)
    try:
        if first is None or first.is_dir():
            return ""
    except OSError:  # the disk failed, so it is not known
        return ""
    named = "" if first == dirpath else f"{first} "
    if first.is_symlink() and not first.exists():
        return f"{named}is a link to {os.readlink(first)}, which does not exist"
    return f"{named}{'is a file' if first.is_file() else 'is not a directory'}"


def resolved(dirpath: Path) -> Path:
    """Return the path without links. If something is in the way of a directory, the path stays, and is named as given.

    Args:
        dirpath: An absolute path, which need not exist.
    """
    return dirpath if obstruction(dirpath) else Path(os.path.realpath(dirpath))
