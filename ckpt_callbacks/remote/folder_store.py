"""Objects as files in a folder: on another disk, or on a mount such as NFS."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from secrets import randbelow  # `random` has the generator of the training script
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import MirrorConflict, MirrorDamaged, MirrorError, printable
from .folder import Folder, entry_of, sync_folder
from .names import staged_key
from .object_store import ANY, ObjectFacts
from .os_errors import as_mirror_errors
from .parts import send_parts
from .sample import compare_sample
from .tree import walk
from .upload import Upload

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}  # FAT, and some FUSE file systems


class FolderStore:
    """Objects as files below a folder (see `ObjectStore`).

    A file becomes visible when it is renamed, and it is durable then. Files whose name begins with a dot, and symbolic
    links, are not objects: they are neither listed nor touched.

    Versions are compared under a lock file (``flock``, which Linux passes on to the NFS server). A new object is
    created by a hard link besides, which no second process can do, so of two processes that create it one wins even
    where there are no locks. `has_conditions` turns false when the first write finds no locks.

    Args:
        url: ``file:///nfs/run``, or a path. The folder is created if the one above it exists.
        options: None are known.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        if options:
            raise MirrorError(f"{url}: a folder takes no storage_options; received {', '.join(map(str, options))}")
        self._folder = Folder(_path_of(url))
        self.url = str(self._folder)
        self.has_conditions = True

    def put(self, key: str, data: bytes, *, replacing: str = ANY) -> ObjectFacts:
        """See `ObjectStore`."""
        with as_mirror_errors(self._folder / key):
            path = self._folder.path_of(key)
            self._folder.make_parents(path)
            staged = self._folder.path / staged_key(key)[0]
            descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                _write(descriptor, data, 0)
                return self._finish(descriptor, staged, path, replacing)
            except BaseException:
                with suppress(OSError):
                    os.unlink(staged)
                raise
            finally:
                os.close(descriptor)

    def upload(self, upload: Upload) -> ObjectFacts:
        """See `ObjectStore`. What has arrived is a hidden file beside the object."""
        where = self._folder / upload.key
        with as_mirror_errors(where):
            path = self._folder.path_of(upload.key)
            self._folder.make_parents(path)
            arrived = _Arrived(upload)
            hidden, arrived.name = staged_key(upload.key, arrived.name)
            staged = self._folder.path / hidden
            descriptor = os.open(staged, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with as_mirror_errors(where):
                arrived.check(os.fstat(descriptor).st_size)
            upload.note(arrived.state())  # before the first byte, so that no file is left that nobody knows

            def write(number: int, data: bytes) -> None:
                with as_mirror_errors(where):
                    _write(descriptor, data, number * upload.part)
                    os.fsync(descriptor)
                arrived.add(number)

            send_parts(upload, arrived.missing(), write)
            with as_mirror_errors(where):
                os.ftruncate(descriptor, upload.size)
                os.fsync(descriptor)
            self._read_back(upload, descriptor, staged)
            with as_mirror_errors(where):
                return self._finish(descriptor, staged, path, ANY)
        finally:
            os.close(descriptor)

    def _read_back(self, upload: Upload, descriptor: int, staged: Path) -> None:
        with suppress(OSError, AttributeError):  # from the disk or the server, not from this machine's memory
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        where = self._folder / upload.key

        def read(start: int, length: int) -> bytes:
            with as_mirror_errors(where):
                return _read(descriptor, start, length)

        try:
            compare_sample(upload, where, read, pieces=16)
        except MirrorDamaged:
            with suppress(OSError):
                os.unlink(staged)
            raise

    def _finish(self, descriptor: int, staged: Path, path: Path, replacing: str) -> ObjectFacts:
        os.fsync(descriptor)
        with self._folder.lock() as locked:
            self.has_conditions = locked
            current = _stat(path)
            version = _version(current) if current else ""
            if replacing not in (ANY, version):
                raise MirrorConflict(f"{self._folder / self._key(path)}: {_change(replacing, version)}")
            _stamp(descriptor, version)
            os.fsync(descriptor)
            if replacing == "":
                self._create(staged, path)
            else:
                os.replace(staged, path)
            sync_folder(path.parent)
        return self._facts(self._key(path), os.fstat(descriptor))

    def _create(self, staged: Path, path: Path) -> None:
        try:
            os.link(staged, path)
        except FileExistsError:
            if not os.path.samefile(staged, path):  # else NFS sent the request twice, and has answered the second one
                raise MirrorConflict(f"{self._folder / self._key(path)}: {_change('', 'x')}") from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.replace(staged, path)
            return
        os.unlink(staged)

    def read(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, ObjectFacts]:
        """See `ObjectStore`."""
        with as_mirror_errors(self._folder / key):
            path = self._folder.path_of(key)
            if self._folder.check() and _stat(path):  # a named pipe would wait for its writer
                with suppress(FileNotFoundError):
                    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                    try:
                        facts = os.fstat(descriptor)
                        left = max(0, facts.st_size - start) if length is None else length
                        return _read(descriptor, start, left), self._facts(key, facts)
                    finally:
                        os.close(descriptor)
        raise FileNotFoundError(f"{self._folder / key}: there is no such object")

    def stat(self, key: str) -> ObjectFacts | None:
        """See `ObjectStore`. A folder has no checksums."""
        with as_mirror_errors(self._folder / key):
            path = self._folder.path_of(key)
            found = _stat(path) if self._folder.check() else None
        return self._facts(key, found) if found else None

    def list(self, prefix: str = "", *, unfinished: bool = False) -> Iterator[ObjectFacts]:
        """See `ObjectStore`."""
        with as_mirror_errors(self._folder / prefix):
            if self._folder.check():
                yield from walk(self._folder.entries, prefix, unfinished=unfinished)

    def delete(self, objects: Iterable[ObjectFacts]) -> None:
        """See `ObjectStore`. Folders that are empty then are deleted as well."""
        for each in objects:
            with as_mirror_errors(self._folder / each.key):
                path = self._folder.path_of(each.key)
                if self._folder.check():
                    hidden = staged_key(each.key, each.upload)[0]
                    self._folder.remove(path if not each.upload else self._folder.path / hidden)

    def _key(self, path: Path) -> str:
        return path.relative_to(self._folder.path).as_posix()

    def _facts(self, key: str, found: os.stat_result) -> ObjectFacts:
        return entry_of("", found).facts(key)


class _Arrived:
    """Which parts of an upload are on the disk of the folder."""

    def __init__(self, upload: Upload) -> None:
        state = (
            upload.state if (upload.state.get("size"), upload.state.get("part")) == (upload.size, upload.part) else {}
        )
        self.name = str(state.get("upload", ""))
        self._done, self._beyond = int(state.get("done", 0)), set(map(int, state.get("beyond", ())))
        self._upload, self._lock = upload, threading.Lock()

    def check(self, size: int) -> None:
        """Forget all parts if the file is shorter than it was."""
        last = max(self._done - 1, *self._beyond, -1)
        if last >= 0 and size < last * self._upload.part + self._upload.length(last):
            self._done, self._beyond = 0, set()

    def missing(self) -> list[int]:
        return [number for number in range(self._done, self._upload.count) if number not in self._beyond]

    def add(self, number: int) -> None:
        with self._lock:
            self._beyond.add(number)
            while self._done in self._beyond:
                self._beyond.remove(self._done)
                self._done += 1
            self._upload.note(self.state())

    def state(self) -> dict[str, Any]:
        beyond = sorted(self._beyond)
        facts = {"size": self._upload.size, "part": self._upload.part, "done": self._done, "beyond": beyond}
        return {"upload": self.name, **facts}


def _path_of(url: str) -> Path:
    path = url
    if url.lower().startswith("file:"):
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise MirrorError(f"{url}: names the machine {parts.netloc}; expected file:///path, with three slashes")
        path = unquote(url[len("file:") :].removeprefix(f"//{parts.netloc}"))
    if not path or not path.isprintable():
        raise MirrorError(f"{printable(url) or repr(url)}: names no folder; expected file:///path or /path")
    return Path(os.path.abspath(os.path.expanduser(path)))


def _stat(path: Path) -> os.stat_result | None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _version(found: os.stat_result) -> str:
    return entry_of("", found).version


def _stamp(descriptor: int, version: str) -> None:
    """Give a file a time that tells it from all others: the clock of a file system stands still for milliseconds."""
    found = os.fstat(descriptor)
    when = found.st_mtime_ns // 100 * 100 + 100 * randbelow(40_000)
    os.utime(descriptor, ns=(when, when))
    while _version(os.fstat(descriptor)) == version:  # the file system keeps whole seconds
        when += 10**9
        os.utime(descriptor, ns=(when, when))


def _change(expected: str, version: str) -> str:
    if not version:
        return "another process has deleted it"
    return "another process has written it" if expected else "it exists already"


def _write(descriptor: int, data: bytes, start: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, start)
        view, start = view[written:], start + written


def _read(descriptor: int, start: int, left: int) -> bytes:
    pieces = []
    while left > 0 and (piece := os.pread(descriptor, left, start)):
        pieces.append(piece)
        start, left = start + len(piece), left - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
