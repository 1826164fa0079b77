"""WsgiDAV, a WebDAV server, behind cheroot."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from .process import Server, free_port

USER, PASSWORD = "canary-webdav-user", "canary-webdav-password"


def missing() -> str:
    """Return why the server cannot run here; empty if it can."""
    absent = [name for name in ("wsgidav", "cheroot") if find_spec(name) is None]
    return f"{', '.join(absent)} is not installed" if absent else ""


class Webdav:
    """A server of one folder.

    Args:
        served: The folder.
        folder: For its settings and its log.
    """

    def __init__(self, served: Path, folder: Path) -> None:
        self.port, config = free_port(), folder / "wsgidav.json"
        user = {USER: {"password": PASSWORD}}
        config.write_text(
            json.dumps(
                {
                    "host": "127.0.0.1",
                    "port": self.port,
                    "server": "cheroot",
                    "provider_mapping": {"/dav": str(served)},
                    "simple_dc": {"user_mapping": {"*": user}},
                    "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
                    "verbose": 1,
                }
            )
        )
        command = [sys.executable, "-m", "wsgidav.server.server_cli", "--config", str(config)]
        self.server = Server(command, self.port, folder / "wsgidav.log")

    def url(self, path: str = "") -> str:
        """Return the URL of a folder below the one that is served."""
        return f"webdav://127.0.0.1:{self.port}/dav/{path}".rstrip("/")

    @property
    def options(self) -> dict[str, object]:
        """The `storage_options` that a client needs."""
        return {"username": USER, "password": PASSWORD}
