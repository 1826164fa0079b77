"""A folder on another disk, or of another machine, and the files in it that belong to objects."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import MirrorError, MirrorUnreachable, printable
from .names import check_key
from .tree import FolderEntry

_LOCK = ".ckpt_callbacks.lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}  # NFS with nolock, and some FUSE file systems
_PATIENCE = 60.0  # seconds for another process that holds the lock; it does so for a few milliseconds

_mutex = threading.RLock()  # also held while this process forks, so that a child inherits no lock that is not listed
_opened: set[int] = set()  # lock files; a forked child shares their locks, and may outlive this process


class Folder:
    """A folder whose disk may vanish while training runs.

    Args:
        path: Its absolute path. Its parent must exist, so that nothing is written into a mount point's own disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._mounted = False  # whether it existed, and was on another disk than the folder above it

    def check(self, *, make: bool = False) -> bool:
        """Return whether the folder exists.

        Args:
            make: Create it, but not its parent.

        Raises:
            MirrorError: Its parent does not exist.
            MirrorUnreachable: It existed, and is gone.
        """
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            if self._seen:
                raise MirrorUnreachable(f"{self}: the folder is gone; is its disk still mounted?") from None
            if not self.path.parent.is_dir():
                above = printable(str(self.path.parent))
                raise MirrorError(f"{self}: there is no folder {above}; mount its disk, or create the folder") from None
            if not make:
                return False
            with suppress(FileExistsError):  # another process was faster
                os.mkdir(self.path)
            found = os.stat(self.path)
            sync_folder(self.path.parent)
        if not stat.S_ISDIR(found.st_mode):
            raise MirrorError(f"{self}: is a file; expected a folder")
        mounted = found.st_dev != os.stat(self.path.parent).st_dev
        if self._mounted and not mounted:  # an empty folder is left
            raise MirrorUnreachable(f"{self}: the disk is not mounted any more; mount it again")
        self._seen, self._mounted = True, mounted
        return True

    def path_of(self, key: str) -> Path:
        """Return the path of an object.

        Raises:
            MirrorError: The key leads out of the folder, or would be hidden.
        """
        names = check_key(str(self), key)
        path, root = self.path.joinpath(*names), os.path.realpath(self.path)
        if os.path.commonpath([root, os.path.realpath(path.parent)]) != root:
            raise MirrorError(f"{self}/{key}: a symbolic link leads out of the folder; remove the link")
        return path

    def make_parents(self, path: Path) -> None:
        """Create the folders above an object, durably."""
        self.check(make=True)
        if path.parent == self.path or path.parent.is_dir():
            return
        self.make_parents(path.parent)
        with suppress(FileExistsError):
            os.mkdir(path.parent)
        sync_folder(path.parent.parent)

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Keep other processes from moving objects into place. Yields whether the file system has such locks."""
        with _mutex:
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            _opened.add(descriptor)
        try:
            yield self._locked(descriptor)
        finally:
            with _mutex:
                _opened.discard(descriptor)
                with suppress(OSError):  # closing it is enough, unless a child has it open still
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)

    def _locked(self, descriptor: int) -> bool:
        end, pause = time.monotonic() + _PATIENCE, 0.002
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise MirrorUnreachable(
                        f"{self / _LOCK}: another process has held it for {_PATIENCE:.0f} s; is that process stopped?"
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, 0.2)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                return False
            else:
                return True

    def entries(self, key: str) -> Iterator[FolderEntry]:
        """Yield the files and folders of a folder; symbolic links, and everything else, are left out.

        Args:
            key: Of the folder; empty for this one.
        """
        folder = self.path / key
        if os.path.realpath(folder) != os.path.join(os.path.realpath(self.path), key).rstrip("/"):
            return  # a symbolic link
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
            for each in found:
                with suppress(FileNotFoundError):  # deleted meanwhile
                    facts = each.stat(follow_symlinks=False)
                    if stat.S_ISDIR(facts.st_mode):
                        yield FolderEntry(each.name, is_folder=True)
                    elif stat.S_ISREG(facts.st_mode):
                        yield entry_of(each.name, facts)

    def remove(self, path: Path) -> None:
        """Delete a file, and the folders above it that are empty then."""
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)
        with suppress(OSError):  # not empty
            while (path := path.parent) != self.path:
                os.rmdir(path)

    def __truediv__(self, name: str) -> str:
        return f"{self}/{printable(name)}" if name else str(self)

    def __str__(self) -> str:
        return printable(str(self.path))


def entry_of(name: str, found: os.stat_result) -> FolderEntry:
    """Return what is known of a file. The inode is left out: over SSHFS and SMB, it may change at each look."""
    return FolderEntry(name, False, found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}", found.st_mtime)


def sync_folder(path: Path) -> None:
    """Make new names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # SMB and some FUSE file systems
            raise
    finally:
        os.close(descriptor)


def _close_inherited() -> None:
    for descriptor in _opened:
        os.close(descriptor)
    _opened.clear()
    _mutex.release()


os.register_at_fork(before=_mutex.acquire, after_in_parent=_mutex.release, after_in_child=_close_inherited)
