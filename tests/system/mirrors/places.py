"""The places that the tests mirror to, each with a real server on loopback if it needs one."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.http_proxy import HttpProxy
from tests.support.proxy import Proxy
from tests.support.servers import azurite, fake_gcs, hub, rclone, seaweed, sshd, webdav
from tests.support.servers.process import Server


@dataclass(frozen=True)
class Place:
    """Where checkpoints can be sent.

    Attributes:
        name: The name in the tests.
        url: The URL.
        options: The `storage_options`.
        server: The server; None if the place has none.
        port: The server's port.
    """

    name: str
    url: str
    options: Mapping[str, Any]
    server: Server | None = None
    port: int = 0

    def at(self, folder: str) -> Place:
        """Return a folder of it."""
        return replace(self, url=f"{self.url}/{folder}")

    def through(self, port: int) -> Place:
        """Return it as clients see it through a proxy."""

        def moved(text: str) -> str:
            return text.replace(f"127.0.0.1:{self.port}", f"127.0.0.1:{port}")

        options = json.loads(moved(json.dumps(dict(self.options))))
        if config := options.get("config"):  # of rclone
            options["config"] = f"{config}.{port}"
            Path(options["config"]).write_text(
                moved(Path(config).read_text()).replace(f"port = {self.port}", f"port = {port}")
            )
        return replace(self, url=moved(self.url), options=options)

    @property
    def mirror(self) -> dict[str, Any]:
        """The arguments of a `Mirror`."""
        return {"url": self.url, "storage_options": dict(self.options)}


def proxied(place: Place) -> Proxy:
    """Return a proxy in front of a place's server, which knows HTTP if the server does."""
    if place.name.endswith("sftp"):
        return Proxy(place.port)
    proxy = HttpProxy(place.port)
    proxy.names_target = place.name == "gcs"
    return proxy


Opening = Callable[[Path, ExitStack], Place]


def _folder(home: Path, stack: ExitStack) -> Place:
    (home / "disk").mkdir()
    return Place("folder", f"file://{home}/disk", {})


def _sftp(home: Path, stack: ExitStack) -> Place:
    server = sshd.Sshd(home / "sshd")
    stack.callback(server.server.kill)
    (home / "served").mkdir()
    options = {name: value for name, value in server.options.items() if name != "known_hosts"}
    options["accept_unknown_host"] = True  # the proxy has a port of its own
    return Place("sftp", server.url(home / "served"), options, server.server, server.port)


def _webdav(home: Path, stack: ExitStack) -> Place:
    (home / "served").mkdir()
    server = webdav.Webdav(home / "served", home)
    stack.callback(server.server.kill)
    url = server.url().replace("//", f"//{webdav.USER}@")
    return Place("webdav", url, {"password": webdav.PASSWORD}, server.server, server.port)


def _rclone_local(home: Path, stack: ExitStack) -> Place:
    (home / "served").mkdir()
    config = rclone.configured(home / "rclone.conf", {"there": {"type": "local"}})
    return Place("rclone-local", f"rclone:there:{home}/served", {"config": str(config)})


def _rclone_webdav(home: Path, stack: ExitStack) -> Place:
    (home / "served").mkdir()
    server = webdav.Webdav(home / "served", home)
    stack.callback(server.server.kill)
    config = rclone.configured(home / "rclone.conf", {"there": rclone.of_webdav(server)})
    return Place("rclone-webdav", "rclone:there:runs", {"config": str(config)}, server.server, server.port)


def _rclone_sftp(home: Path, stack: ExitStack) -> Place:
    server = sshd.Sshd(home / "sshd")
    stack.callback(server.server.kill)
    (home / "served").mkdir()
    config = rclone.configured(home / "rclone.conf", {"there": rclone.of_sshd(server)})
    return Place("rclone-sftp", f"rclone:there:{home}/served", {"config": str(config)}, server.server, server.port)


def _hub(home: Path, stack: ExitStack, kind: str) -> Place:
    server = hub.LocalHub(home)
    stack.callback(server.server.kill)
    return Place(f"hub-{kind}", server.url(kind), server.options, server.server, server.port)


def _s3(home: Path, stack: ExitStack) -> Place:
    server = seaweed.Seaweed(home)
    stack.callback(server.server.kill)
    return Place("s3", server.url("runs"), server.options, server.server, server.port)


def _gcs(home: Path, stack: ExitStack) -> Place:
    server = fake_gcs.FakeGcs(home)
    stack.callback(server.server.kill)
    stack.push(server.proxy)
    return Place("gcs", server.url("runs"), server.options, server.server, server.proxy.port)


def _azure(home: Path, stack: ExitStack) -> Place:
    server = azurite.Azurite(home)
    stack.callback(server.server.kill)
    return Place("azure", server.url("runs"), server.options, server.server, server.port)


def _needs(*modules: str) -> str:
    absent = []
    for name in modules:
        try:
            import_module(name)
        except ImportError:
            absent.append(name)
    return f"{', '.join(absent)} is not installed" if absent else ""


# Why a place is missing here (empty if it is not), and how to open it.
PLACES: dict[str, tuple[Callable[[], str], Opening]] = {
    "folder": (lambda: "", _folder),
    "s3": (lambda: seaweed.missing() or _needs("boto3", "obstore"), _s3),
    "gcs": (lambda: fake_gcs.missing() or _needs("google.auth", "obstore"), _gcs),
    "azure": (lambda: azurite.missing() or _needs("azure.storage.blob", "obstore"), _azure),
    "sftp": (lambda: sshd.missing() or _needs("paramiko"), _sftp),
    "webdav": (lambda: webdav.missing() or _needs("webdav4"), _webdav),
    "rclone-local": (rclone.missing, _rclone_local),
    "rclone-webdav": (lambda: rclone.missing() or webdav.missing(), _rclone_webdav),
    "rclone-sftp": (lambda: rclone.missing() or sshd.missing(), _rclone_sftp),
    "hub-buckets": (hub.missing, partial(_hub, kind="buckets")),
    "hub-models": (hub.missing, partial(_hub, kind="models")),
}


@contextmanager
def opened() -> Iterator[Callable[[str], Place]]:
    """Yield a function that returns a place, whose server runs until the end of this context."""
    found: dict[str, Place] = {}
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="servers-", ignore_cleanup_errors=True)))

        def place(name: str) -> Place:
            missing, open_ = PLACES[name]
            if name not in found:
                if why := missing():
                    pytest.skip(why)
                home = root / name
                home.mkdir()
                found[name] = open_(home, stack)
            return found[name]

        yield place
