"""The URL of a server, with its user and password."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ..errors import MirrorError, printable
from .secrets import without_user


@dataclass(frozen=True, repr=False)
class ServerUrl:
    """The parts of a URL.

    Attributes:
        shown: The URL, without user and password.
        host: The name or the address of the server.
        port: Its port; None for the usual one.
        user: The user; empty if the URL has none.
        password: The password; empty if the URL has none.
        path: The path, with its slash at the beginning, and with none at the end.
    """

    shown: str
    host: str
    port: int | None
    user: str
    password: str
    path: str

    @classmethod
    def of(cls, url: str) -> ServerUrl:
        """Return the parts of a URL.

        Raises:
            MirrorError: It has no host, or the port is not a number.
        """
        scheme = url.partition(":")[0].lower()
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host:
            shown = printable(without_user(url))
            raise MirrorError(f"{shown}: names no server; expected {scheme}://host/folder, or host:port")
        if parts.password is not None and "@" in parts.path:  # where does the password end?
            shown = printable(without_user(url))
            raise MirrorError(f"{shown}: has an @ after its password; write it as %40, or use storage_options")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        path = parts.path.rstrip("/")
        shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}{path}"
        return cls(printable(shown), host, port, user, password, unquote(path))
