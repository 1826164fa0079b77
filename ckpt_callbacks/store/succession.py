"""The succession of a checkpoint's file by one in another form and of another name, such as a compressed one.

Either of them may be a folder. The journal says first what the new file is. The new file is moved into place beside
the old one, and then the journal says that the checkpoint is the new file, and that the old one is obsolete. The links
follow, the old file is deleted, and the journal says that this is done. After a crash anywhere in between, the record
names a whole file. If the new file is gone or damaged before the old one is deleted, as in a copy of a live run, the
checkpoint is the old file again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Unreadable, VerifyError
from ..record import ALIASES, Record
from .aliases import move_alias, read_alias
from .commit import remove
from .digest import digest
from .identity import identity, require_same
from .manifest import Manifest

_PACKED = ("compressed", "shards")  # what a record says about the native file


def announced(file: str, found: str, size: int, packed: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the change of a record that announces its new file.

    Args:
        file: The name of the new file.
        found: Its digest.
        size: Its size in bytes.
        packed: `Record.compressed` and `Record.shards` as they will be, by their names.
    """
    facts = {name: dict(packed.get(name, {})) for name in _PACKED}
    return {"replacement": {"file": file, "digest": found, "size": size, **facts}}


def successor(record: Record) -> Record | None:
    """Return the record as it will be with the announced file; None if no file of another name is announced."""
    new = record.replacement
    if "file" not in new:
        return None
    return record.replace(file=new["file"], digest=new["digest"], size=new["size"], **_packed(new))


def predecessor(record: Record) -> Record | None:
    """Return the record as it was with the old file; None if there is no old file to delete."""
    old = record.replacement
    if "obsolete" not in old:
        return None
    facts = {name: old[name] for name in ("digest", "size", "identity")}
    return record.replace(file=old["obsolete"], replacement={}, **facts, **_packed(old))


def succeeded(record: Record) -> dict[str, Any]:
    """Return the change of a record that says that the announced file, which is in place, is the checkpoint."""
    new = successor(record)
    assert new is not None
    return {
        "file": new.file, "digest": new.digest, "size": new.size, "compressed": new.compressed, "shards": new.shards,
        "identity": identity(new.path) if record.identity else "",
        "replacement": {
            "obsolete": record.file, "digest": record.digest, "size": record.size, "identity": record.identity,
            **({"shards": dict(record.shards)} if record.shards else {}),
        },
    }  # fmt: skip


def _packed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a replacement says about the native file; a version that knew no shards said nothing about them."""
    return {name: facts.get(name, {}) for name in _PACKED}


def is_in_place(record: Record) -> bool:
    """Return whether the announced file is in place, with all its bytes.

    Raises:
        OSError: It cannot be read now.
    """
    new = successor(record)
    if new is None:
        return False
    try:
        return digest(new.path) == (new.digest, new.size)
    except (FileNotFoundError, VerifyError):
        return False


def settle(manifest: Manifest, id_: int) -> Record:
    """Finish a succession that was interrupted after the new file was in place, and return the record.

    Args:
        manifest: The directory's manifest.
        id_: The record's id.

    Raises:
        OSError: The disk is broken.
        StoreError: The journal cannot be written.
    """
    known = manifest.records[id_]
    if successor(known) is not None and is_in_place(known):
        manifest.amend(id_, lambda now: succeeded(now) if now.replacement == known.replacement else {})
    if predecessor(manifest.records[id_]) is not None:
        return finish(manifest, id_)
    return manifest.records[id_]


def has_only_predecessor(record: Record) -> bool:
    """Return whether the new file is gone or damaged, and the old one is still whole.

    Raises:
        Unreadable: A file cannot be read now.
    """
    old = predecessor(record)
    return old is not None and record.status.on_disk and not _is_whole(record) and _is_whole(old)


def _is_whole(record: Record) -> bool:
    try:
        os.lstat(record.path)
        require_same(record)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except Unreadable:
        raise
    except VerifyError:
        return False
    except OSError as error:
        raise Unreadable(f"{record.path}: cannot be read: {error.strerror or error}") from error
    return True


def _move_links(folder: Path, before: str, now: str) -> None:
    """Let the links to one file point to another one.

    Raises:
        OSError: A link cannot be moved; the next save tries again.
    """
    for alias in ALIASES:
        if read_alias(folder, alias, {before}) is not None:
            move_alias(folder, alias, now, {before, now})


def finish(manifest: Manifest, id_: int) -> Record:
    """Let the links follow, delete the old file, and return the record, which then says that this is done.

    Another file that has taken the old one's name stays. If only the old file is whole, the record names that again.

    Args:
        manifest: The directory's manifest.
        id_: The record's id.

    Raises:
        OSError: The disk is full, or broken; the next start continues.
        StoreError: The journal cannot be written, or a file cannot be read now.
    """

    def done(now: Record) -> dict[str, Any]:
        old = predecessor(now)
        if old is None:
            return {}
        if has_only_predecessor(now):
            _move_links(now.path.parent, now.file, old.file)
            return {
                "file": old.file, "digest": old.digest, "size": old.size, "identity": old.identity,
                "compressed": old.compressed, "shards": old.shards, "replacement": {},
            }  # fmt: skip
        _move_links(now.path.parent, old.file, now.file)
        with contextlib.suppress(VerifyError):
            require_same(old)
            remove(old.path, aside=manifest.layout.staging)
        return {"replacement": {}}

    return manifest.amend(id_, done)
