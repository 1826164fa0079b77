"""The aliases ``last``, ``best`` and ``final``: relative links next to the checkpoints, which move during training.

A link has the suffix of its target (``best.keras``), because frameworks choose a reader by suffix. On file systems
without links, a small text file (``best.pointer``) holds the name. Links are for people; the package itself asks the
manifest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from ..errors import StoreError
from ..record import ALIASES, Record
from .commit import free_draft
from .private_files import create_file, read_file

_POINTER = ".pointer"
COMPRESSED, SHARDS = ".cz", ".shards"  # of compressed checkpoints and of folders of shards, after the native suffix
PACKED = (COMPRESSED, SHARDS)


def move_alias(dirpath: Path, name: str, file: str | None, known: Collection[str]) -> bool:
    """Point an alias at a file in one atomic step, or remove it.

    Args:
        dirpath: The run directory.
        name: The alias.
        file: The checkpoint's name in that directory; None to remove the alias.
        known: Names of all files that the manifest lists; a link to any other file is left alone.

    Returns:
        False if a file that this package did not create has the alias's name.
    """
    moved = _point(dirpath, name, file, reader_suffix(file), known) if file is not None else None
    for stale in _links(dirpath, name):  # only now, so that the alias always exists
        if stale != moved and target_of(stale) in known:
            stale.unlink(missing_ok=True)
    return moved is not None or file is None


def obstacle(dirpath: Path, name: str, file: str, known: Collection[str]) -> Path | None:
    """Return the foreign file that prevents ``name`` from pointing to ``file``; None if there is none."""
    link = dirpath / f"{name}{reader_suffix(file)}"
    return link if os.path.lexists(link) and target_of(link) not in known else None


def read_alias(dirpath: Path, name: str, known: Collection[str]) -> str | None:
    """Return the file that ``name`` points to, or None; ``known`` as in `move_alias`."""
    found = [link for link in _links(dirpath, name) if target_of(link) in known]
    # There are two if a crash came between creating a link with a new suffix and removing the old one.
    newest = max(found, key=lambda link: link.lstat().st_mtime_ns, default=None)
    return target_of(newest) if newest is not None else None


def pointed_at(dirpath: Path, names: Collection[str] = ALIASES) -> set[str]:
    """Return the targets of all links with these names of aliases."""
    return {target for name in names for link in _links(dirpath, name) if (target := target_of(link)) is not None}


def _point(dirpath: Path, name: str, file: str, suffix: str, known: Collection[str]) -> Path | None:
    """Point ``name`` at ``file``; return the link, or None if a foreign file has its name."""
    if obstacle(dirpath, name, file, known) is not None:
        return None
    link = dirpath / f"{name}{suffix}"
    if target_of(link) == file:
        return link
    draft = free_draft(dirpath, f".{link.name}")
    try:
        os.symlink(file, draft)
    except (OSError, NotImplementedError):
        link = dirpath / f"{name}{_POINTER}"
        if target_of(link) == file:
            return link
        create_file(draft, os.fsencode(file))
    try:
        os.replace(draft, link)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    for left in dirpath.glob(f".{name}.*.new"):  # by a crash, while the alias had another suffix
        with contextlib.suppress(OSError):
            left.unlink()
    return link


def link_targets(records: Iterable[Record]) -> set[str]:
    """Return the names of files to which links of this package may point.

    Args:
        records: The records of the run directory. The native file of a packed one may be the target of an old link.
    """
    files = {record.file for record in records}
    return files | {file.removesuffix(suffix) for file in files for suffix in PACKED}


def reader_suffix(file: str) -> str:
    """Return the end of a name by which readers choose what to do with the file, such as ``.weights.h5``."""
    last = Path(file).suffix
    if last in PACKED:
        return f"{reader_suffix(file.removesuffix(last))}{last}"
    return ".weights.h5" if file.endswith(".weights.h5") else last


def _links(dirpath: Path, name: str) -> list[Path]:
    return [path for path in (*dirpath.glob(f"{name}.*"), dirpath / name) if target_of(path) is not None]


def target_of(path: Path) -> str | None:
    """Return the name in a link or a pointer; None for any other file, or if there is none."""
    try:
        if path.is_symlink():
            return os.readlink(path)
        return os.fsdecode(read_file(path)).strip() if path.suffix == _POINTER else None
    except (OSError, StoreError):
        return None
