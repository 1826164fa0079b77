"""The files and folders of a run directory that no record names, and those in its staging folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from ..record import Record, Status
from ..store.manifest import Manifest


def names_in_use(manifest: Manifest) -> set[str]:
    """Return the names of the checkpoints that count, and of those that an interrupted save may have put in place."""
    records = list(manifest.records.values())
    return {record.file for record in records if record.status.on_disk or record.status is Status.WRITING}


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


def records_of_unnamed(manifest: Manifest, others: Collection[str] = ()) -> list[Record]:
    """Return the records of the history that name a file of the run directory which no record of the journal names.

    While a live run is copied, the run may delete files that the copy already contains, and move their records. A file
    that was lost may also come back after its record has moved.

    Args:
        manifest: The manifest.
        others: Further names to look for.
    """
    suffixes = {Path(record.file).suffix for record in manifest.records.values()}
    names = {path.name for path in unnamed_paths(manifest) if path.suffix in suffixes}
    newest = {record.file: record for record in manifest.history.search("file", names.union(others))}
    return [record for record in newest.values() if record.id not in manifest.records]
