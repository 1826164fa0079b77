"""Objects as files on a server: over SFTP or WebDAV, or through rclone or fsspec."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

from ..errors import CkptError, MirrorConflict, MirrorDamaged, MirrorError, MirrorUnreachable, printable
from .files import Files
from .names import check_key, staged_key
from .object_store import ANY, ObjectFacts
from .parts import Pieces
from .sample import compare_sample
from .tree import FolderEntry, walk
from .upload import Upload

_FILES = {
    "sftp": ("sftp_files", "SftpFiles"),
    "rclone": ("rclone_files", "RcloneFiles"),
    "dropbox": ("rclone_files", "RcloneFiles"),
    "gdrive": ("rclone_files", "RcloneFiles"),
    "webdav": ("webdav_files", "WebdavFiles"),
    "webdavs": ("webdav_files", "WebdavFiles"),
}
_OTHER_FILES = ("fsspec_files", "FsspecFiles")
_TICK, _TICKS = 0.25, 10  # a server may tell seconds only, and two versions must differ

# Folders whose names are digests have one writer. From others, some servers would delete what arrives at that moment.
_OF_ONE = re.compile(r"(?:.*/)?[0-9a-f]{16}(?:/.*)?")


class ServerStore:
    """Objects as files on a server (see `ObjectStore`).

    A file is written under a hidden name, and then renamed, where the server can rename. Versions are looked at before
    an object is written, because these protocols compare nothing; SFTP alone refuses to create what exists already.

    Args:
        url: Such as ``sftp://host/runs/a`` or ``webdavs://host/remote.php/dav/files/user/runs``.
        options: `storage_options` for the engine.
    """

    has_conditions = False

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        module, name = _FILES.get(url.partition(":")[0].lower(), _OTHER_FILES)
        kind = getattr(importlib.import_module(f".{module}", __package__), name)
        self._files = cast(Files, kind(url, dict(options or {})))
        self._folders: set[str] = set()  # that exist
        self.url = self._files.url

    def put(self, key: str, data: bytes, *, replacing: str = ANY) -> ObjectFacts:
        """See `ObjectStore`."""
        with self._spoken(key):
            check_key(self.url, key)
            before = self._files.find(key)
            version = before.version if before else ""
            if replacing not in (ANY, version):
                gone = "another process has deleted it"
                changed = "another process has written it" if replacing else "it exists already"
                raise MirrorConflict(f"{self._where(key)}: {changed if version else gone}")
            after = None
            for _ in range(_TICKS):
                self._write_small(key, data, replace=replacing != "")
                after = self._files.find(key)
                if after is None or after.size != len(data):
                    raise MirrorUnreachable(f"{self._where(key)}: was changed while it was written; try again")
                if before is None or after.version != version or after.modified > before.modified:
                    break  # in the last case, the version is a hash, and the bytes are the same
                time.sleep(_TICK)
            assert after is not None
            return after.facts(key)

    def _write_small(self, key: str, data: bytes, *, replace: bool) -> None:
        self._make_folder(key)
        if not self._files.renames:
            self._files.write(key, iter([data]), len(data))
            return
        staged, _ = staged_key(key)
        try:
            self._files.write(staged, iter([data]), len(data))
            self._files.move(staged, key, replace=replace)
        except BaseException as error:
            with suppress(Exception):
                self._files.remove(staged)
            if isinstance(error, FileExistsError):
                raise MirrorConflict(f"{self._where(key)}: it exists already") from None
            raise

    def upload(self, upload: Upload) -> ObjectFacts:
        """See `ObjectStore`. It is continued over SFTP; elsewhere, the file is sent again."""
        key, old = upload.key, str(upload.state.get("upload", ""))
        pieces, first = Pieces(upload), 0
        with self._spoken(key):
            check_key(self.url, key)
            self._make_folder(key)
            if old and self._files.resumes:
                arrived = self._files.find(staged_key(key, old)[0])
                first = min(arrived.size, upload.size) // upload.part if arrived else 0
            elif old:
                # What was begun may still be on its way to the server, so the same name is not used again.
                with suppress(Exception):
                    self._files.remove(staged_key(key, old)[0])
                old = ""
            staged, name = staged_key(key, old) if self._files.renames else (key, "")
        if name and name != old:
            upload.note({"upload": name})
        if first < upload.count:
            with pieces.sending(), self._spoken(key):
                self._files.write(staged, pieces.of(first), upload.size, first * upload.part)
        with self._spoken(key):
            self._compare(upload, staged)
            if staged != key:
                self._files.move(staged, key, replace=True)
            found = self._files.find(key)
            if found is None:
                raise MirrorUnreachable(f"{self._where(key)}: was deleted while it was written; try again")
            return found.facts(key)

    def _compare(self, upload: Upload, staged: str) -> None:
        where = self._where(upload.key)

        def read(start: int, length: int) -> bytes:
            with self._spoken(upload.key):
                return self._files.read(staged, start, length)[0]

        try:
            size = getattr(self._files.find(staged), "size", 0)
            if size != upload.size:
                raise MirrorDamaged(f"{where}: has {size} bytes; expected {upload.size}; check the disk there")
            if not self._files.verifies:
                compare_sample(upload, where, read)
        except MirrorDamaged:
            with suppress(Exception):
                self._files.remove(staged)
            raise

    def read(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, ObjectFacts]:
        """See `ObjectStore`."""
        with self._spoken(key):
            check_key(self.url, key)
            try:
                data, found = self._files.read(key, start, length)
            except (FileNotFoundError, IsADirectoryError):
                data, found = b"", FolderEntry(key, is_folder=True)
        if found.is_folder:
            raise FileNotFoundError(f"{self._where(key)}: there is no such object")
        return data, found.facts(key)

    def stat(self, key: str) -> ObjectFacts | None:
        """See `ObjectStore`. These servers have no checksums."""
        with self._spoken(key):
            check_key(self.url, key)
            found = self._files.find(key)
        return found.facts(key) if found else None

    def list(self, prefix: str = "", *, unfinished: bool = False) -> Iterator[ObjectFacts]:
        """See `ObjectStore`."""
        yield from walk(self._entries, prefix, unfinished=unfinished)

    def _entries(self, folder: str) -> Sequence[FolderEntry]:
        with self._spoken(folder):
            return tuple(self._files.entries(folder))

    def delete(self, objects: Iterable[ObjectFacts]) -> None:
        """See `ObjectStore`. The folder of a checkpoint goes with its last file."""
        folders: set[str] = set()
        for each in objects:
            folders.add(each.key.rpartition("/")[0])
            with self._spoken(each.key), suppress(FileNotFoundError):
                check_key(self.url, each.key)
                self._files.remove(staged_key(each.key, each.upload)[0] if each.upload else each.key)
        for folder in sorted(folders, key=len, reverse=True):
            with suppress(MirrorError):  # it costs nothing
                self._remove_folder(folder)

    def _remove_folder(self, folder: str) -> None:
        while _OF_ONE.fullmatch(folder) and not self._entries(folder):
            with self._spoken(folder):
                self._folders.discard(folder)
                self._files.remove_folder(folder)
            folder = folder.rpartition("/")[0]

    def _make_folder(self, key: str) -> None:
        check_key(self.url, key)
        folder = key.rpartition("/")[0]
        if folder not in self._folders:
            self._files.make_folder(folder)
            self._folders.add(folder)

    def _where(self, key: str) -> str:
        return f"{self.url}/{printable(key)}" if key else self.url

    @contextmanager
    def _spoken(self, key: str) -> Iterator[None]:
        """Raise the errors of the engine as those of a mirror."""
        try:
            yield
        except CkptError as error:
            error.__suppress_context__ = True  # what the engine said may hold secrets
            raise
        except FileNotFoundError:
            self._folders.clear()  # somebody has deleted one
            raise MirrorUnreachable(f"{self._where(key)}: its folder was deleted meanwhile; try again") from None
        except Exception as error:
            raise self._files.problem(self._where(key), error) from None
