"""The replacement of a checkpoint's file by a smaller one of the same name.

The journal says first what the new file is, then the file takes the old one's place in one rename, and then the journal
says that it has. After a crash anywhere in between, the bytes on the disk say which of the two files is there, and the
record has the digests of both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import VerifyError
from ..record import Record, Status
from .commit import sync_folder
from .digest import digest, verify
from .identity import identity
from .manifest import Manifest


def intended(
    found: str,
    size: int,
    contents: str,
    reduced: Mapping[str, Any] = MappingProxyType({}),
    compressed: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the change of a record that announces its new file.

    Args:
        found: The digest of the new file.
        size: Its size in bytes.
        contents: What it holds: ``"full"`` or ``"weights"``.
        reduced: What has been rounded or left out; see `Record.reduced`.
        compressed: The facts of the native file in it; see `Record.compressed`.
    """
    new = {"digest": found, "size": size, "contents": contents}
    return {"replacement": {**new, "reduced": dict(reduced), "compressed": dict(compressed)}}


def finished(record: Record) -> dict[str, Any]:
    """Return the change of a record that says that its new file has taken the place of the old one."""
    new: Mapping[str, Any] = record.replacement
    return {
        "status": Status.THINNED, "resumable": False, "digest": new["digest"], "size": new["size"],
        "contents": new["contents"], "reduced": new.get("reduced", {}), "compressed": new.get("compressed", {}),
        "identity": identity(record.path) if record.identity else "", "replacement": {},
    }  # fmt: skip


def undone() -> dict[str, Any]:
    """Return the change of a record that says that the old file has stayed."""
    return {"replacement": {}}


def is_in_place(record: Record) -> bool | None:
    """Return whether the new file is in place, from the bytes on the disk; None if neither file is there.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        found = digest(record.path)
    except FileNotFoundError:
        return None
    if found == (record.replacement.get("digest"), record.replacement.get("size")):
        return True
    return False if found == (record.digest, record.size) else None


def swap(staged: Path, target: Path) -> None:
    """Let a staged file take the place of the file of the same file system, durably."""
    os.replace(staged, target)
    sync_folder(target.parent)
    sync_folder(staged.parent)


def verify_now(manifest: Manifest, record: Record, **how: Any) -> None:
    """Verify a checkpoint as `verify` does, also if it is rewritten while it is read.

    Args:
        manifest: The directory's manifest.
        record: The checkpoint's record.
        **how: Further arguments of `verify`.

    Raises:
        VerifyError: See `verify`.
    """
    try:
        verify(record, **how)
    except VerifyError:
        manifest.refresh()
        now = manifest.records.get(record.id)
        if (
            now is None
            or not now.status.on_disk
            or (now.digest, now.replacement) == (record.digest, record.replacement)
        ):
            raise
        verify(now, **how)
