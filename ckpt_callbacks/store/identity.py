"""An identity of a checkpoint, by which another file that has taken its name is noticed without reading it."""

from __future__ import annotations

import os
from pathlib import Path

import xxhash

from ..record import Record
from .digest import files_below, named, verify


def identity(path: Path) -> str:
    """Return a text that differs for any other file or folder, and after any write; empty if it cannot be examined.

    It is made of the inodes and their times, of which the system sets one (``st_ctime``) that nobody can set back.
    """
    hasher = xxhash.xxh3_128()
    try:
        inside = sorted(files_below(path)) if path.is_dir() and not path.is_symlink() else ()
        for file in (path, *inside):
            found = os.lstat(file)
            facts = (
                file.relative_to(path).as_posix(),
                found.st_ino,
                found.st_size,
                found.st_mtime_ns,
                found.st_ctime_ns,
            )
            hasher.update(repr(facts).encode("utf-8", "surrogateescape"))
    except OSError:
        return ""
    return named(hasher)


def require_same(record: Record) -> None:
    """Require that a record's path holds the checkpoint that was saved, or nothing.

    Its bytes are read only if its identity is not the recorded one, as in a copy of the directory.

    Raises:
        VerifyError: Something else has its name, or the checkpoint was changed.
        Unreadable: It cannot be read now.
    """
    path = record.path
    if os.path.lexists(path) and not (record.identity and identity(path) == record.identity):
        verify(record)
