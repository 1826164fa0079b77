"""Checkpoints that a user has renamed in their run directory, recognized by their bytes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from ..errors import VerifyError
from ..record import ALIASES, Record, Status
from ..store.aliases import move_alias, read_alias
from ..store.digest import verify
from ..store.identity import identity
from ..store.manifest import Manifest
from .deletions import has_its_size
from .listed_again import list_again
from .repair import Repair


def find_renamed(manifest: Manifest, record: Record, named: set[str] | None = None) -> Repair | None:
    """Return a repair for a missing checkpoint if a file or a folder beside its place holds its bytes.

    Whoever renames a checkpoint wants to keep it, so that it is pinned as well.

    Args:
        manifest: The manifest.
        record: The checkpoint's record.
        named: The names of other checkpoints, to which that of the found file is added. By default, those that count.
    """
    if os.path.lexists(record.path):
        return None
    named = {other.file for other in manifest.live()} if named is None else named
    for path in sorted(record.path.parent.iterdir()):
        if path.name in named or path.suffix != record.path.suffix or path.is_symlink():
            continue
        found = record.replace(file=path.name)
        try:
            if not has_its_size(found):
                continue
            verify(found)
        except VerifyError:
            continue
        named.add(path.name)
        return Repair(
            f"{record.path}: missing; {path.name} has its bytes",
            "listed under that name and pinned",
            partial(_list_as, manifest, record, path),
        )
    return None


def _list_as(manifest: Manifest, record: Record, path: Path) -> None:
    """Change the name in the record, unless the checkpoint was deleted meanwhile, and in the links to it."""
    name = {"file": path.name, "pinned": True, "identity": identity(path)}
    if record.status is Status.FAILED:
        list_again(manifest, record, **name)
    else:
        manifest.amend(record.id, lambda now: {} if now.status is Status.DELETED else name)
    for alias in ALIASES:
        if read_alias(path.parent, alias, {record.file}) is not None:
            move_alias(path.parent, alias, path.name, {record.file})
