"""Files in any place that fsspec knows."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import fsspec

from ..errors import MirrorError, MirrorUnreachable, MissingDependency, printable
from .os_errors import mirror_error
from .secrets import scrubbed, without_user
from .tree import FolderEntry

_SMALL = 8 << 20  # bytes that are written in one request
_VERSIONS = ("ETag", "etag", "generation", "version", "checksum", "md5", "mtime")
_TIMES = ("mtime", "modified", "last_modified", "LastModified", "updated", "created")
# They wrap another place, or hold what is there already.
_NOT_PLACES = {
    "async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "data", "dir", "filecache", "generic",
    "gist", "git", "github", "http", "https", "libarchive", "local", "pyscript", "reference", "simplecache", "tar",
    "zip",
}  # fmt: skip


class FsspecFiles:
    """Files in a place of fsspec (see `Files`), such as FTP, SMB or HDFS.

    Args:
        url: As fsspec expects it.
        options: For the engine.
    """

    resumes = verifies = False

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.url, self._url, self._options = printable(without_user(url)).rstrip("/"), url, dict(options)
        self._secrets = {**options, "password": url.partition("://")[2].rpartition("@")[0].partition(":")[2]}
        try:
            self._kind = fsspec.get_filesystem_class(url.partition(":")[0])
        except ImportError as error:
            raise MissingDependency(f"{self.url}: {scrubbed(error, self._secrets)}") from None
        # Elsewhere, to move is to copy and delete, and a file appears when it is whole.
        self.renames = self._kind.mv is not fsspec.AbstractFileSystem.mv
        self._found: tuple[Any, str] | None = None

    @property
    def _place(self) -> tuple[Any, str]:
        if self._found is None:
            try:
                self._found = fsspec.url_to_fs(self._url, skip_instance_cache=True, **self._options)
            except FileNotFoundError as error:  # of a key or a certificate; it would be taken for a missing object
                raise MirrorError(f"{self.url}: {scrubbed(error, self._secrets)}") from None
        return self._found

    def _at(self, key: str) -> tuple[Any, str]:
        system, root = self._place
        system.invalidate_cache()
        return system, f"{root.rstrip('/')}/{key}" if key else root

    def find(self, key: str) -> FolderEntry | None:
        """See `Files`."""
        system, path = self._at(key)
        with suppress(FileNotFoundError):
            found = _entry(system.info(path))
            return None if found.is_folder else found
        return None

    def entries(self, key: str) -> Iterator[FolderEntry]:
        """See `Files`."""
        system, path = self._at(key)
        with suppress(FileNotFoundError):
            for found in system.ls(path, detail=True):
                if found["type"] in ("file", "directory"):
                    yield _entry(found)

    def write(self, key: str, pieces: Iterator[bytes], size: int, start: int = 0) -> None:
        """See `Files`."""
        system, path = self._at(key)
        if size <= _SMALL:
            system.pipe_file(path, b"".join(pieces))
            return
        file = system.open(path, "wb")
        try:
            for piece in pieces:
                file.write(piece)
        except BaseException:
            with suppress(Exception):
                file.discard()
            with suppress(Exception):
                file.closed = True  # else it would be finished when it is collected
            raise
        file.close()

    def move(self, key: str, target: str, *, replace: bool) -> None:
        """See `Files`."""
        (system, old), (_, new) = self._at(key), self._at(target)
        exists = system.exists(new)
        if exists and not replace:
            raise FileExistsError(target)
        try:
            system.mv(old, new)
        except Exception:
            if not exists:
                raise
            system.rm_file(new)
            system.mv(old, new)

    def read(self, key: str, start: int, length: int | None) -> tuple[bytes, FolderEntry]:
        """See `Files`."""
        system, path = self._at(key)
        found = _entry(system.info(path))
        if found.is_folder:
            raise IsADirectoryError(key)
        end = found.size if length is None else min(found.size, start + length)
        return system.cat_file(path, start=start, end=end) if start < end else b"", found

    def remove(self, key: str) -> None:
        """See `Files`."""
        system, path = self._at(key)
        system.rm_file(path)

    def make_folder(self, key: str) -> None:
        """See `Files`."""
        system, path = self._at(key)
        system.makedirs(path, exist_ok=True)

    def remove_folder(self, key: str) -> None:
        """See `Files`."""
        system, path = self._at(key)
        system.rmdir(path)

    def problem(self, where: str, error: Exception) -> MirrorError:
        """See `Files`."""
        text = scrubbed(error, self._secrets)
        if isinstance(error, NotImplementedError):
            return MirrorError(f"{where}: {self._kind.__name__} of fsspec cannot do that; expected a place for writing")
        if isinstance(error, ImportError | TypeError | ValueError | PermissionError):
            return MirrorError(f"{where}: {text or type(error).__name__}")
        if isinstance(error, OSError) and error.errno is not None:
            return mirror_error(where, error, text)
        return MirrorUnreachable(f"{where}: {text or type(error).__name__}")


def is_known(scheme: str) -> bool:
    """Return whether fsspec knows a kind of place in which mirrors can be."""
    return scheme in fsspec.available_protocols() and scheme not in _NOT_PLACES


def _entry(found: Mapping[str, Any]) -> FolderEntry:
    name, size = posixpath.basename(str(found["name"]).rstrip("/")), int(found.get("size") or 0)
    if found["type"] != "file":
        return FolderEntry(name, is_folder=True)
    when = next((found[each] for each in _TIMES if found.get(each)), 0)
    seconds = when.timestamp() if isinstance(when, datetime) else float(when) if isinstance(when, int | float) else 0.0
    version = next((found[each] for each in _VERSIONS if found.get(each)), when)
    return FolderEntry(name, False, size, f"{version}-{size:x}", seconds)
