"""A copy of a checkpoint's native file, whether the checkpoint is packed or not."""

from __future__ import annotations

from pathlib import Path

from ..errors import ExportError
from ..formats.packed.opened import restore
from ..formats.packed.packing import native_facts
from ..formats.packed.suffix import is_split, native_name
from ..record import Record
from ..store.condition import check_exists
from ..store.digest import digest
from ..store.manifest import Manifest
from ..store.replacement import verify_now
from .new_file import NewFile


def copy_native(record: Record, to: Path | None = None, *, force: bool = False) -> Path:
    """Write the native file of a checkpoint, and return its path.

    Args:
        record: The checkpoint's record.
        to: The file to write, or the folder to write it into; by default, the current folder.
        force: Whether to replace a file that exists.

    Raises:
        ExportError: The checkpoint is a directory, or a file of that name exists.
        OSError: The disk is full, or broken.
        VerifyError: The checkpoint is damaged.
    """
    check_exists(record)
    if record.path.is_dir() and not is_split(record.file):
        raise ExportError(f"{record.path}: is a directory, a sharded checkpoint, which is native: copy it as it is")
    path = to if to is not None else Path()
    if path.is_dir():
        path = path / native_name(record.file)
    new = NewFile(path, force=force)
    verify_now(Manifest.read(record.path.parent), record)
    native = native_facts(record)
    with new.draft() as draft:
        restore(record.path, draft)
        if digest(draft) != native:
            raise ExportError(f"{record.path}: its bytes changed while it was copied; try again")
        new.keep(draft)
    return path
