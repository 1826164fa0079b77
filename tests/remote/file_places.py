"""The places elsewhere that are no cloud buckets, each with a real server on loopback."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ckpt_callbacks.remote.object_store import ObjectStore
from ckpt_callbacks.remote.url import open_store
from tests.support.servers import hub, rclone, sshd, webdav
from tests.support.servers.process import Server

from .running import RunningServers
from .sent_file import PART

NAMES = [
    "folder",
    "sftp",
    "webdav",
    "rclone-local",
    "rclone-sftp",
    "rclone-webdav",
    "fsspec",
    "hub-bucket",
    "hub-model",
]
PARAMETERS = [name if name == "folder" else pytest.param(name, marks=pytest.mark.mirrors) for name in NAMES]


@dataclass
class Place:
    """A place for the objects of one test.

    Attributes:
        url: Its URL.
        options: The `storage_options`.
        continues: Whether an upload that was interrupted continues.
        hides: Whether nothing of an upload is visible before it is whole.
        creates_once: Whether one of two writers creates an object.
        compares: Whether versions are compared while an object is written.
        files: Where its files are on this machine, if they are.
        server: Its server, if it can be killed without losing what it holds.
        part: Bytes of a part.
    """

    url: str
    options: dict[str, Any] = field(default_factory=dict)
    continues: bool = False
    hides: bool = True
    creates_once: bool = False
    compares: bool = False
    files: Path | None = None
    server: Server | None = None
    part: int = PART

    def open(self, **options: Any) -> ObjectStore:
        """Return a new store, as a new process has one."""
        return open_store(self.url, {**self.options, **options})


class Places:
    """Starts each server when it is needed first.

    Args:
        folder: For the servers' files.
    """

    def __init__(self, folder: Path) -> None:
        self._servers = RunningServers(folder)
        self.close = self._servers.close
        self._served = folder / "served"
        self._served.mkdir()

    def place(self, name: str, path: Path) -> Place:
        """Return a new place.

        Args:
            name: One of `NAMES`.
            path: An empty folder of the test.
        """
        below = f"{path.parent.name}-{path.name}"
        if name == "folder":
            return Place(str(path / "elsewhere"), {}, True, True, True, True, path / "elsewhere")
        if name == "fsspec":
            return Place(f"memory://{below}", hides=False)
        if name == "sftp":
            running = self._servers.of(name, sshd, sshd.Sshd)
            files = path / "elsewhere"
            return Place(running.url(files), running.options, True, True, True, False, files, running.server)
        if name == "webdav":
            running = self._webdav()
            return Place(running.url(below), running.options, files=self._served / below, server=running.server)
        if name.startswith("hub"):
            running = self._servers.of("hub", hub, hub.LocalHub)
            model = name == "hub-model"
            url = running.url("models" if model else "buckets", below)
            return Place(url, running.options, creates_once=model, compares=model)
        return self._rclone(name, path, below)

    def _rclone(self, name: str, path: Path, below: str) -> Place:
        if reason := rclone.missing():
            pytest.skip(reason)
        remote, files = name.removeprefix("rclone-"), path / "elsewhere"
        if remote == "local":
            settings, root = {"type": "local"}, str(files)
        elif remote == "sftp":
            settings, root = rclone.of_sshd(self._servers.of("sftp", sshd, sshd.Sshd)), str(files)
        else:
            settings, root, files = rclone.of_webdav(self._webdav()), below, self._served / below
        config = rclone.configured(path / "rclone.conf", {remote: settings})
        return Place(f"rclone:{remote}:{root}", {"config": str(config)}, files=files)

    def _webdav(self) -> webdav.Webdav:
        return self._servers.of("webdav", webdav, lambda folder: webdav.Webdav(self._served, folder))
