"""Files that a training run has to remove, and those whose removal failed and is tried again."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from ..errors import StoreError
from ..store.commit import remove

log = logging.getLogger("ckpt_callbacks")


class Leftovers:
    """Removes files and folders of a run directory. What cannot be removed is tried again at the next save.

    Args:
        staging: The folder to which a folder is moved in order to delete it.
    """

    def __init__(self, staging: Path) -> None:
        self._staging = staging
        self._left: dict[Path, tuple[int, ...]] = {}  # what still has to be removed, and which file that is
        self._any_aside = False  # a folder that was moved to the staging folder is still there

    def remove(self, path: Path) -> bool:
        """Remove a file or a folder, now or later. A failure is logged once.

        Returns:
            Whether it is gone.
        """
        try:
            remove(path, aside=self._staging)
        except (OSError, StoreError) as error:
            if path not in self._left:
                why = getattr(error, "strerror", None) or error
                log.warning("%s: could not be removed: %s; it no longer counts, and each save tries again", path, why)
            found = _identity(path)
            if found is not None:
                self._left[path] = found
            else:
                self._any_aside = True
            return False
        self._left.pop(path, None)
        return True

    def adopt(self, paths: Iterable[Path]) -> None:
        """At the next save, remove files and folders that could not be removed before this object was created.

        Args:
            paths: Files and folders of the run directory. Folders that were moved aside are found anyway.
        """
        self._left |= {path: found for path in paths if (found := _identity(path)) is not None}
        self._any_aside = True  # perhaps; the next `retry` looks, because a disk that fails now may work then

    def retry(self) -> set[Path]:
        """Try again to remove what could not be removed. A file that has taken the name of another one stays.

        Returns:
            The files and folders of the run directory that are gone now.
        """
        gone: set[Path] = set()
        for path, identity in list(self._left.items()):
            if _identity(path) != identity:
                del self._left[path]
            elif self.remove(path):
                log.info("removed %s, which could not be removed earlier", path.name)
                gone.add(path)
        if self._any_aside:
            with contextlib.suppress(OSError):  # the disk failed, and may work next time
                aside = list(self._staging.glob("*.deleted"))
                for path in aside:
                    shutil.rmtree(path, ignore_errors=True)
                self._any_aside = any(map(os.path.lexists, aside))
        return gone


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return the device and inode of a file or folder, and the size and time of a file; None if it does not exist.

    The inode alone is not enough, because another file may get the inode of one that was removed.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return None
    of_file = () if stat.S_ISDIR(found.st_mode) else (found.st_size, found.st_mtime_ns)
    return found.st_dev, found.st_ino, *of_file
