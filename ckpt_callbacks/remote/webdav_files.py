"""Files on a server over WebDAV, with webdav4."""

from __future__ import annotations

import netrc
import ssl
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote

import httpx
from webdav4 import client as webdav

from ..errors import MirrorError, MirrorUnreachable
from .secrets import scrubbed
from .server_url import ServerUrl
from .tree import FolderEntry

_PATIENCE = 30.0  # seconds without any progress
_LASTING = {
    400: "the server did not understand the request",
    401: "the server refused the log-in; check the user and the password",
    403: "the server refused access; check the rights of this user",
    404: "there is no such address on the server; check the URL",
    405: "the server does not speak WebDAV at this address; check the URL",
    409: "the server has no folder for it; check the URL",
    413: "the file is larger than the server accepts",
    414: "the name is longer than the server accepts",
    501: "the server does not speak WebDAV at this address; check the URL",
}
_STATUS = {webdav.ForbiddenOperation: 403, webdav.ResourceNotFound: 404, webdav.ResourceConflict: 409}


class WebdavFiles:
    """Files over WebDAV (see `Files`).

    Credentials come from the URL, from ``username`` and ``password`` or ``auth`` in `storage_options`, or from
    ``~/.netrc``.

    Args:
        url: ``webdavs://host/folder`` for HTTPS, or ``webdav://host/folder`` for HTTP.
        options: For httpx, such as ``headers``, or ``verify`` with a file of certificates.
    """

    renames = True
    resumes = verifies = False

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        server, options = ServerUrl.of(url), dict(options)
        self.url, self._root = server.shown, server.path
        self._secrets = {**options, "password": server.password}
        user, password = options.pop("username", server.user), options.pop("password", server.password)
        auth = options.pop("auth", (user, password) if user or password else _netrc(self.url))
        scheme = "https" if url.lower().startswith("webdavs") else "http"
        host = f"[{server.host}]" if ":" in server.host else server.host
        base = f"{scheme}://{host}:{server.port}" if server.port else f"{scheme}://{host}"
        options = {"timeout": _PATIENCE, "follow_redirects": True, **options}
        try:
            if isinstance(options.get("verify"), str):
                options["verify"] = ssl.create_default_context(cafile=options["verify"])
            auth = tuple(auth) if isinstance(auth, list) else auth
            self._client = client = webdav.Client(base, auth=auth, retry=False, **options)
        except FileNotFoundError:
            raise MirrorError(f"{self.url}: storage_options names a file of certificates that does not exist") from None
        except (TypeError, ValueError, OSError) as error:
            text = scrubbed(error, self._secrets)
            raise MirrorError(f"{self.url}: {text}; expected storage_options that httpx knows") from None
        weakref.finalize(self, client.http.close)

    def _path(self, key: str) -> str:
        path = f"{self._root}/{key}" if key else self._root or "/"
        if not {"?", "#", ";"}.isdisjoint(key):  # webdav4 takes them for the end of the path
            raise MirrorError(f"{self.url}: {key!r} has a ?, # or ;, which cannot be sent over WebDAV")
        return quote(path)  # httpx leaves a % as it is

    def find(self, key: str) -> FolderEntry | None:
        """See `Files`."""
        found = self._look(self._path(key))
        return found if found and not found.is_folder else None

    def _look(self, path: str) -> FolderEntry | None:
        """Return what is known of a file or folder; webdav4 would ask for all that is in a folder as well."""
        try:
            found = self._client.propfind(path, headers={"Depth": "0"}, follow_redirects=True)
        except webdav.ResourceNotFound:
            return None
        properties = next(iter(found.responses.values())).properties
        return _entry({"name": path, **properties.as_dict()})

    def entries(self, key: str) -> Iterator[FolderEntry]:
        """See `Files`."""
        with suppress(webdav.ResourceNotFound):
            for found in self._client.ls(self._path(key), detail=True):
                yield _entry(found)

    def write(self, key: str, pieces: Iterator[bytes], size: int, start: int = 0) -> None:
        """See `Files`."""
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        try:
            self._client.request("PUT", self._path(key), content=pieces, headers=headers)
        except webdav.HTTPError as error:
            if error.status_code == httpx.codes.CONFLICT:
                raise FileNotFoundError(key) from None
            raise
        except webdav.ResourceNotFound:
            raise FileNotFoundError(key) from None

    def move(self, key: str, target: str, *, replace: bool) -> None:
        """See `Files`. Some servers delete the object that is replaced a moment before."""
        try:
            self._client.move(self._path(key), self._path(target), overwrite=replace)
        except webdav.ResourceAlreadyExists:
            raise FileExistsError(target) from None

    def read(self, key: str, start: int, length: int | None) -> tuple[bytes, FolderEntry]:
        """See `Files`. From a server without ranges, the bytes before them are read as well."""
        found = self.find(key)  # before the bytes, so that a newer version is never taken for read
        if found is None:
            raise FileNotFoundError(key)
        if length == 0:
            return b"", found
        last = "" if length is None else str(start + length - 1)
        url, headers = self._client.join_url(self._path(key)), {"Range": f"bytes={start}-{last}"}
        with self._client.http.stream("GET", url, headers={**headers, "Accept-Encoding": "identity"}) as reply:
            if reply.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b"", found
            if reply.status_code == httpx.codes.NOT_FOUND:
                raise FileNotFoundError(key)
            if reply.is_error:
                raise webdav.HTTPError(reply)
            skipped = 0 if reply.status_code == httpx.codes.PARTIAL_CONTENT else start
            data = bytearray()
            for piece in reply.iter_bytes():
                data += piece[skipped:]
                skipped = max(0, skipped - len(piece))
                if length is not None and len(data) >= length:
                    break
        return bytes(data if length is None else data[:length]), found

    def remove(self, key: str) -> None:
        """See `Files`."""
        with suppress(webdav.ResourceNotFound):
            self._client.remove(self._path(key))

    def make_folder(self, key: str) -> None:
        """See `Files`."""
        self._make(self._path(key))

    def _make(self, path: str) -> None:
        if path in ("", "/"):
            return
        found = self._look(path)
        if found is not None:
            if found.is_folder:
                return
            raise MirrorError(f"{self.url}: {unquote(path)} is a file; expected a folder")
        self._make(path.rpartition("/")[0])
        with suppress(webdav.ResourceAlreadyExists):
            self._client.mkdir(path)

    def remove_folder(self, key: str) -> None:
        """See `Files`."""
        self.remove(key)

    def problem(self, where: str, error: Exception) -> MirrorError:
        """See `Files`."""
        text = scrubbed(error, self._secrets)
        if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.LocalProtocolError):
            return MirrorError(f"{where}: {text}")
        if isinstance(error, webdav.InsufficientStorage):
            return MirrorUnreachable(f"{where}: no space left; free some space, or keep less in this mirror")
        if isinstance(error, ValueError | SyntaxError | StopIteration):  # of what should be XML
            return MirrorError(f"{where}: {_LASTING[501]}")
        status = _STATUS.get(type(error), getattr(error, "status_code", 0))
        if status in _LASTING:
            return MirrorError(f"{where}: {_LASTING[status]} (HTTP {status})")
        if isinstance(error, httpx.TimeoutException):
            text = f"no answer for {_PATIENCE:.0f} s"
        return MirrorUnreachable(f"{where}: {text or type(error).__name__}")


def _netrc(url: str) -> httpx.Auth | None:
    try:
        return httpx.NetRCAuth()
    except OSError:
        return None  # there is none
    except netrc.NetrcParseError:  # which may show a password
        raise MirrorError(f"{url}: ~/.netrc cannot be used; check its rights and its lines") from None


def _entry(found: Any) -> FolderEntry:
    name = str(found["name"]).rstrip("/").rpartition("/")[2]
    if found["type"] == "directory":
        return FolderEntry(name, is_folder=True)
    size, modified = int(found["content_length"] or 0), found["modified"]
    seconds = modified.timestamp() if modified else 0.0
    return FolderEntry(name, False, size, f"{found['etag'] or seconds}-{size:x}", seconds)
