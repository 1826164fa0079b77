"""Files on a server over SFTP, with paramiko."""

from __future__ import annotations

import logging
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko

from ..errors import MirrorError, MirrorUnreachable
from .host_keys import ACCEPT, FILE, HostKeys, UnknownHost
from .os_errors import mirror_error
from .secrets import scrubbed
from .server_url import ServerUrl
from .tree import FolderEntry

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # its tracebacks are for those who ask for them

_PATIENCE = 30.0  # seconds without any progress
_ALIVE = 30  # seconds between signs of life, for the routers on the way
_REQUEST = 32 << 10  # bytes; every server answers a request of that size in full
# What paramiko says with the error of a refused log-in, although it does not know whether the server would refuse it.
_CUT_OFF = ("transport shut down or saw EOF", "Authentication timeout")


class SftpFiles:
    """Files over SFTP (see `Files`). The connection is opened at its first use, and again when it was lost.

    Credentials come from the URL, `storage_options`, ``~/.ssh/config``, the SSH agent and the keys in ``~/.ssh``. The
    host must have the key that ``known_hosts`` says; a host that is not in there is refused. See `HostKeys`.

    Args:
        url: ``sftp://user@host:port/folder``; ``/~/folder`` is below the user's home.
        options: For ``paramiko.SSHClient.connect``, such as ``key_filename``; and those of `HostKeys`.
    """

    renames = resumes = True
    verifies = False

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._server = ServerUrl.of(url)
        self.url = self._server.shown
        path = self._server.path
        self._root = path[3:] or "." if path.startswith("/~/") or path == "/~" else path or "/"
        self._options = dict(options)
        self._secrets = {**options, "password": self._server.password}
        self._client: Any = None  # paramiko's
        self._lock = threading.Lock()
        self._own = threading.local()  # a channel of each thread, because one must not be shared

    @property
    def _sftp(self) -> Any:
        with self._lock:
            transport = self._client.get_transport() if self._client else None
            if transport is None or not transport.is_active():
                self._client = self._connect()
            client = self._client
        if getattr(self._own, "client", None) is not client or self._own.sftp.get_channel().closed:
            self._own.client, self._own.sftp = client, client.open_sftp()
            self._own.sftp.get_channel().settimeout(_PATIENCE)
        return self._own.sftp

    def _connect(self) -> Any:
        config = _ssh_config(self._server.host)
        login: dict[str, Any] = {"timeout": _PATIENCE, "banner_timeout": _PATIENCE, "auth_timeout": _PATIENCE}
        found = {
            "username": self._server.user or config.get("user"),
            "password": self._server.password,
            "port": self._server.port or config.get("port"),
            "key_filename": [path for path in config.get("identityfile", ()) if Path(path).exists()],  # as ssh does
        }
        given = {name: value for name, value in self._options.items() if name not in (ACCEPT, FILE)}
        login |= {name: value for name, value in found.items() if value} | given
        client = paramiko.SSHClient()
        try:
            HostKeys(self.url, self._options, config).prepare(client)
            client.connect(config.get("hostname", self._server.host), **{**login, "port": int(login.get("port", 22))})
            client.get_transport().set_keepalive(_ALIVE)
        except FileNotFoundError as error:  # which would be taken for a missing object
            client.close()
            raise MirrorError(f"{self.url}: the key {error.filename} does not exist") from None
        except BaseException:
            client.close()
            raise
        return client

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}" if key else self._root

    def find(self, key: str) -> FolderEntry | None:
        """See `Files`."""
        with suppress(FileNotFoundError):
            found = _entry(self._sftp.lstat(self._path(key)), key)
            return found if found and not found.is_folder else None
        return None

    def entries(self, key: str) -> Iterator[FolderEntry]:
        """See `Files`."""
        with suppress(FileNotFoundError):
            for each in self._sftp.listdir_iter(self._path(key)):
                if found := _entry(each, each.filename):
                    yield found

    def write(self, key: str, pieces: Iterator[bytes], size: int, start: int = 0) -> None:
        """See `Files`. The requests of a part do not wait for one another; the server carries them out in their order.

        So what paramiko hears of them is lost, and the size says whether the part has arrived.
        """
        sftp, path, end = self._sftp, self._path(key), start
        for piece in pieces:
            with sftp.open(path, "r+b" if end else "wb") as file:
                file.set_pipelined(True)
                file.seek(end)
                file.write(piece)
            end += len(piece)
            arrived = sftp.stat(path).st_size or 0
            if arrived < end:
                raise OSError(f"the server has kept {arrived} of {end} bytes; is its disk full?")

    def move(self, key: str, target: str, *, replace: bool) -> None:
        """See `Files`. Without ``replace``, OpenSSH makes a hard link, of which one succeeds."""
        sftp, old, new = self._sftp, self._path(key), self._path(target)
        if not replace:
            try:
                sftp.rename(old, new)
            except OSError:
                if self.find(target):
                    raise FileExistsError(new) from None
                raise
            return
        try:
            sftp.posix_rename(old, new)
        except OSError as error:
            if "unsupported" not in str(error).lower():
                raise
            with suppress(FileNotFoundError):  # a server that is not OpenSSH
                sftp.remove(new)
            sftp.rename(old, new)

    def read(self, key: str, start: int, length: int | None) -> tuple[bytes, FolderEntry]:
        """See `Files`."""
        with self._sftp.open(self._path(key), "rb") as file:
            found = _entry(file.stat(), key)
            if found is None or found.is_folder:
                raise IsADirectoryError(key)
            count = max(0, min(found.size - start, found.size if length is None else length))
            # paramiko would ask for the same requests by itself, but search all of them for each answer.
            ranges = [(at, min(_REQUEST, start + count - at)) for at in range(start, start + count, _REQUEST)]
            return b"".join(file.readv(ranges)), found

    def remove(self, key: str) -> None:
        """See `Files`."""
        self._sftp.remove(self._path(key))

    def make_folder(self, key: str) -> None:
        """See `Files`."""
        self._make(self._path(key))

    def _make(self, path: str) -> None:
        try:
            found = self._sftp.stat(path)
        except FileNotFoundError:
            above = path.rpartition("/")[0]
            if above:
                self._make(above)
            try:
                self._sftp.mkdir(path)
            except OSError as error:
                with suppress(FileNotFoundError):
                    self._sftp.stat(path)  # another process was faster
                    return
                text = scrubbed(error, self._secrets)
                raise MirrorError(f"{self.url}: the folder {path} cannot be created: {text}") from None
        else:
            if not stat.S_ISDIR(found.st_mode or 0):
                raise MirrorError(f"{self.url}: {path} is a file; expected a folder")

    def remove_folder(self, key: str) -> None:
        """See `Files`."""
        self._sftp.rmdir(self._path(key))

    def problem(self, where: str, error: Exception) -> MirrorError:
        """See `Files`."""
        text = scrubbed(error, self._secrets)
        if isinstance(error, UnknownHost):
            return MirrorError(
                f"{where}: known_hosts does not name {error}; expected a known server: compare this key with the "
                f"server's, log in once with ssh, or pass {FILE} or {ACCEPT} in storage_options"
            )
        if isinstance(error, paramiko.BadHostKeyException):
            return MirrorError(f"{where}: the server has another key than known_hosts says; is it the right server?")
        is_cut_off = any(words in text for words in _CUT_OFF)
        if not is_cut_off and (isinstance(error, paramiko.AuthenticationException) or "authentication methods" in text):
            return MirrorError(f"{where}: the server refused the log-in: {text}; check the user and the key")
        if isinstance(error, TypeError | ValueError):
            return MirrorError(f"{where}: {text}; expected storage_options that paramiko's connect knows")
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            return mirror_error(where, error, text)  # that the server said
        if isinstance(error, EOFError | TimeoutError | paramiko.SSHException | ConnectionError):
            self._forget()  # answers would be taken for those of other requests
            if is_cut_off:
                text = "the connection was lost in the log-in; if it always is, pass key_filename in storage_options"
            elif isinstance(error, EOFError):
                text = "the connection was lost"
        return MirrorUnreachable(f"{where}: {text or type(error).__name__}")

    def _forget(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


def _ssh_config(host: str) -> dict[str, Any]:
    try:
        return dict(paramiko.SSHConfig.from_path(str(Path.home() / ".ssh" / "config")).lookup(host))
    except (OSError, RuntimeError, paramiko.SSHException, paramiko.ConfigParseError):
        return {}


def _entry(found: Any, name: str) -> FolderEntry | None:
    mode = found.st_mode or 0
    if stat.S_ISDIR(mode):
        return FolderEntry(name, is_folder=True)
    size, modified = found.st_size or 0, found.st_mtime or 0
    return FolderEntry(name, False, size, f"{modified:x}-{size:x}", modified) if stat.S_ISREG(mode) else None
