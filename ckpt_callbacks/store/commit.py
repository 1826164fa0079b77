"""The commit of a finished checkpoint: moved into place so that a crash leaves either all of it or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from .digest import files_below
from .private_files import make_folder

_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # the errors of some network file systems


def flush(path: Path) -> None:
    """Force a file, or every file and folder of a directory, to the device."""
    if not path.is_dir():
        _fsync(path)
        return
    for file in files_below(path):
        _fsync(file)
    for folder, _, _ in os.walk(path, topdown=False):
        sync_folder(Path(folder))


def commit(staged: Path, target: Path) -> None:
    """Rename ``staged`` to ``target`` in the same file system, durably. After a failure, ``staged`` is still in place.

    Raises:
        FileExistsError: The target exists; nothing is ever overwritten.
    """
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; a checkpoint never overwrites another file")
    os.rename(staged, target)
    try:
        sync_folder(target.parent)
        sync_folder(staged.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.rename(target, staged)
        raise


def replace(staged: Path, target: Path, aside: Path) -> None:
    """Rename ``staged`` to ``target`` in the same file system, durably, in place of whatever has that name.

    A file is replaced in one step. No system call replaces a folder so, which is first moved to ``aside``.

    Args:
        staged: What is finished.
        target: Where it goes; missing folders are created.
        aside: A free path in the same file system, where recovery looks for a folder that was moved away.
    """
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)
    moved = os.path.lexists(target) and (_is_folder(target) or _is_folder(staged))
    if moved:
        os.rename(target, aside)
    try:
        os.rename(staged, target)
    except BaseException:
        if moved:
            os.rename(aside, target)
        raise
    sync_folder(target.parent)
    sync_folder(staged.parent)
    if moved:
        remove(aside)


def remove(path: Path, aside: Path | None = None) -> None:
    """Delete a file or a directory tree, durably; a missing one is not an error.

    Args:
        path: File or directory.
        aside: A private folder in the same file system. A directory is moved there first, so that a crash leaves either
            all of it under its name or nothing.
    """
    if _is_folder(path):
        doomed = path
        if aside is not None:
            make_folder(aside)
            doomed = aside / free_name(aside, path.name, ".deleted")
            os.rename(path, doomed)
            sync_folder(path.parent)
        shutil.rmtree(doomed)
    else:
        path.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        sync_folder(path.parent)


def free_name(dirpath: Path, stem: str, suffix: str) -> str:
    """Return ``stem + suffix``, with ``-v1``, ``-v2``, ... before the suffix while the name is taken."""
    name, version = f"{stem}{suffix}", 0
    while os.path.lexists(dirpath / name):
        version += 1
        name = f"{stem}-v{version}{suffix}"
    return name


def free_draft(dirpath: Path, name: str) -> Path:
    """Return a path for what will replace ``name``.

    The files that crashes and failures left there are removed; anything else, such as a folder, stays, and another path
    is taken.
    """
    free, version = None, 0
    while os.path.lexists(draft := dirpath / f"{name}{f'-v{version}' if version else ''}.new"):
        with contextlib.suppress(OSError):
            draft.unlink()
            free = free or draft
        version += 1
    return free or draft


def sync_folder(path: Path) -> None:
    """Force the entries of a folder to the device, if the file system can."""
    try:
        _fsync(path)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
