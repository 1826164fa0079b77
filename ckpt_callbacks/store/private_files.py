"""Files and folders with names that this package reserves, which a user may have given to something else.

Opening them never follows a link, which could lead to another user's file, and never waits for the other end of a pipe.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import StoreError
from .file_kind import KINDS
from .layout import Layout

_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FILE, _FOLDER = stat.S_IFREG, stat.S_IFDIR


def open_file(path: Path, flags: int) -> int:
    """Open a regular file, and return its descriptor. A file that is created gets the rights that the umask leaves.

    Args:
        path: The file.
        flags: As for `os.open`; with ``O_CREAT``, a missing file is created.

    Raises:
        StoreError: Something else has the name.
        OSError: The file cannot be opened.
    """
    try:
        descriptor = _open(path, flags | _SAFELY)
    except OSError:
        _require(path, _FILE)
        raise
    try:
        _require(path, _FILE, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file. Raises as `open_file` does."""
    with open(open_file(path, os.O_RDONLY), "rb") as file:
        return file.read()


def write_file(path: Path, data: bytes) -> None:
    """Write all of a file, which is created if it is missing. Raises as `open_file` does."""
    with open(open_file(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
        file.truncate(0)
        file.write(data)


def create_file(path: Path, data: bytes) -> None:
    """Write a new file in place of whatever file or link has its name. Raises as `open_file` does."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        _require(path, _FILE)
        raise
    with open(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(data)


def make_folder(path: Path) -> None:
    """Create a folder, and the folders above it, unless they exist.

    Raises:
        StoreError: Something else has the name.
        OSError: The folder cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    finally:
        _require(path, _FOLDER)


def misplaced(layout: Layout) -> Iterator[tuple[Path, str]]:
    """Yield each private name that something of another kind has, and a line about it, outermost first."""
    folders = (layout.private, layout.staging)
    files = (layout.journal, layout.history, layout.journal_lock, layout.training_lock, layout.owner)
    for path in (*folders, *files):
        try:
            _require(path, _FOLDER if path in folders else _FILE)
        except StoreError as error:
            yield path, str(error)


def require_own(layout: Layout) -> None:
    """Raise `StoreError` if something of another kind has one of the private names."""
    for _, problem in misplaced(layout):
        raise StoreError(f"{problem}, or run `ckpt doctor {layout.dirpath}`")


def _open(path: Path, flags: int) -> int:
    # In world-writable folders, Linux refuses O_CREAT for another user's file (fs.protected_regular).
    if flags & os.O_CREAT and not flags & os.O_EXCL:
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, flags & ~os.O_CREAT)
    return os.open(path, flags, 0o666)


def _require(path: Path, wanted: int, mode: int | None = None) -> None:
    """Raise `StoreError` if something of another kind has the name; a missing one is none.

    Args:
        path: The file or folder.
        wanted: Its kind, as in `os.stat_result.st_mode`.
        mode: What is there; by default, it is looked up.
    """
    if mode is None:
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            return
    if (found := stat.S_IFMT(mode)) != wanted:
        raise StoreError(f"{path}: is {KINDS.get(found, 'of an unknown kind')}; expected {KINDS[wanted]}; move it away")
