"""Files in any place that rclone knows, such as Dropbox or Google Drive."""

from __future__ import annotations

import calendar
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import MirrorError, MirrorUnreachable, printable
from .rclone_process import Rclone, RcloneFailed
from .secrets import scrubbed
from .tree import FolderEntry

_URL = re.compile(r"(?:rclone:(?P<remote>\w[\w .+@-]*):|(?P<short>dropbox|gdrive):(?://)?)(?P<path>.*)")
_MISSING = (3, 4)  # exit status: no such folder, no such file
_PASSING_STATUS, _FATAL = 5, 7
_PASSING = re.compile(
    r"time.?out|temporar|connect|no such host|reset|\b(429|50\d)\b|too.many|rate.?limit", re.IGNORECASE
)
_LASTING = re.compile(
    r"\b40[13]\b|unauthori[sz]ed|forbidden|access.?denied|permission denied|read-only|invalid_(grant|client)|token"
    r"|log-?in|password|authenticat|not a valid|unknown (flag|command|option)|didn't find backend|bucket not found"
    r"|name too long|must be (set|specified)",
    re.IGNORECASE,
)


class RcloneFiles:
    """Files in a remote of rclone's own configuration (see `Files`).

    Args:
        url: ``rclone:REMOTE:path``; ``dropbox:path`` and ``gdrive:path`` for remotes of these names.
        options: Flags of rclone, such as ``config``.
    """

    resumes = False

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        found = _URL.fullmatch(url)
        if found is None:
            shown = printable(scrubbed(url.partition(",")[0]))  # ":sftp,pass=..." would follow
            raise MirrorError(
                f"{shown}: names no remote of rclone; expected rclone:REMOTE:path, with one of `rclone listremotes`"
            )
        self._remote = found["remote"] or found["short"]
        self._root = found["path"].rstrip("/") or ("/" if found["path"] else "")
        self.url = printable(url).rstrip("/")
        self._options, self._rclone = dict(options), Rclone(options)
        self._known: dict[str, Any] | None = None

    @property
    def _features(self) -> dict[str, Any]:
        if self._known is None:
            found = json.loads(self._rclone.run("backend", "features", f"{self._remote}:"))
            self._known = {**found["Features"], "hashes": found.get("Hashes") or []}
        return self._known

    @property
    def renames(self) -> bool:
        """Whether the place can rename; rclone would copy elsewhere, and a file appears there when it is whole."""
        return bool(self._features.get("Move"))

    @property
    def verifies(self) -> bool:
        """Whether the place keeps checksums, which rclone compares; some compute them by reading the file."""
        return bool(self._features["hashes"]) and not self._features.get("SlowHash")

    def _path(self, key: str) -> str:
        below = f"{self._root.rstrip('/')}/{key}" if self._root and key else key or self._root
        return f"{self._remote}:{below}"

    def _list(self, *arguments: str) -> Any:
        hashes = ("--hash",) if self.verifies else ()
        return json.loads(self._rclone.run("lsjson", "--no-mimetype", *hashes, *arguments) or b"null")

    def find(self, key: str) -> FolderEntry | None:
        """See `Files`."""
        with suppress(FileNotFoundError), _missing():
            found = self._list("--stat", self._path(key))
            return _entry(found) if found and not found["IsDir"] else None
        return None

    def entries(self, key: str) -> Iterator[FolderEntry]:
        """See `Files`."""
        with suppress(FileNotFoundError), _missing():
            for found in self._list(self._path(key)):
                yield _entry(found)

    def write(self, key: str, pieces: Iterator[bytes], size: int, start: int = 0) -> None:
        """See `Files`."""
        self._rclone.run("rcat", "--size", str(size), self._path(key), pieces=pieces)

    def move(self, key: str, target: str, *, replace: bool) -> None:
        """See `Files`. rclone deletes the object that is replaced a moment before."""
        if not replace and self.find(target):
            raise FileExistsError(target)
        # Without the flag, a file of the same size is taken for the same one where the place keeps no times.
        self._rclone.run("moveto", "--ignore-times", self._path(key), self._path(target))

    def read(self, key: str, start: int, length: int | None) -> tuple[bytes, FolderEntry]:
        """See `Files`."""
        found = self.find(key)
        if found is None:
            raise FileNotFoundError(key)
        count = max(0, min(found.size - start, found.size if length is None else length))
        if not count:
            return b"", found
        with _missing():
            return self._rclone.run("cat", "--offset", str(start), "--count", str(count), self._path(key)), found

    def remove(self, key: str) -> None:
        """See `Files`."""
        with _missing():
            self._rclone.run("deletefile", self._path(key))

    def make_folder(self, key: str) -> None:
        """See `Files`. rclone creates the folders itself."""

    def remove_folder(self, key: str) -> None:
        """See `Files`."""
        self._rclone.run("rmdir", self._path(key))

    def problem(self, where: str, error: Exception) -> MirrorError:
        """See `Files`."""
        text = scrubbed(error, self._options)
        if "didn't find section in config file" in text:
            return MirrorError(f"{where}: rclone has no remote {self._remote}; add it with `rclone config`")
        status = error.code if isinstance(error, RcloneFailed) else 0
        passes = status == _PASSING_STATUS or _PASSING.search(text)
        if status == _FATAL or (_LASTING.search(text) and not passes):
            return MirrorError(f"{where}: {text}; check it with `rclone lsd {self._remote}:`")
        return MirrorUnreachable(f"{where}: {text}")


@contextmanager
def _missing() -> Iterator[None]:
    """Raise `FileNotFoundError` if rclone says so."""
    try:
        yield
    except RcloneFailed as error:
        if error.code in _MISSING:
            raise FileNotFoundError(str(error)) from None
        raise


def _entry(found: Mapping[str, Any]) -> FolderEntry:
    if found["IsDir"]:
        return FolderEntry(found["Name"], is_folder=True)
    checksum = next((f"{kind}:{value.lower()}" for kind, value in sorted(found.get("Hashes", {}).items())), "")
    version = "-".join(filter(None, (found["ModTime"], found.get("ID", ""), f"{found['Size']:x}", checksum)))
    modified = calendar.timegm(time.strptime(found["ModTime"][:19], "%Y-%m-%dT%H:%M:%S"))
    return FolderEntry(found["Name"], False, found["Size"], version, modified, checksum)
