"""The files and folders of a run directory that no record names, and those in its staging folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..store.manifest import Manifest


def unnamed_paths(manifest: Manifest) -> Iterator[Path]:
    """Yield each file and folder in the run directory that no record names; links are not followed."""
    dirpath = manifest.layout.dirpath
    named = {record.file for record in manifest.records.values()}
    for path in dirpath.iterdir() if dirpath.is_dir() else ():
        if path.name not in named and not path.is_symlink() and (path.is_file() or path.is_dir()):
            yield path


def staged_names(manifest: Manifest) -> list[str]:
    """Return the names in the staging folder.

    Raises:
        OSError: It cannot be listed.
    """
    staging = manifest.layout.staging
    return os.listdir(staging) if staging.is_dir() else []
