"""The buckets of three clouds, each with a real server on loopback."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.http_proxy import HttpProxy
from tests.support.servers import azurite, fake_gcs, seaweed

from .file_places import Place
from .running import RunningServers

NAMES = ["s3", "gcs", "azure"]
PARAMETERS = [name if name == "s3" else pytest.param(name, marks=pytest.mark.mirrors) for name in NAMES]


_SERVERS: dict[str, tuple[Any, Callable[[Path], Any]]] = {
    "s3": (seaweed, seaweed.Seaweed),
    "gcs": (fake_gcs, fake_gcs.FakeGcs),
    "azure": (azurite, azurite.Azurite),
}
_PARTS = {"s3": 5 << 20, "gcs": 256 << 10, "azure": 64 << 10}  # bytes; the least that the stores take
_WRONG = {
    "s3": {"secret_access_key": "canary-s3-wrong-secret"},
    "azure": {"account_key": "Y2FuYXJ5LXdyb25nLWF6dXJlLWtleQ=="},
}


@dataclass
class CloudPlace(Place):
    """A prefix for the objects of one test.

    Attributes:
        name: One of `NAMES`.
        endpoint: The URL of its server.
        bucketless: The same URL with a bucket that there is not.
        wrong: Options that the server does not accept; None if it accepts all.
        proxy: The proxy that stands before the server; None if there is none.
    """

    name: str = ""
    endpoint: str = ""
    bucketless: str = ""
    wrong: dict[str, Any] | None = None
    proxy: HttpProxy | None = None


class CloudPlaces:
    """Starts each server when it is needed first.

    Args:
        folder: For the servers' files.
    """

    def __init__(self, folder: Path) -> None:
        self._servers = RunningServers(folder)
        self.close = self._servers.close

    def place(self, name: str, path: Path) -> CloudPlace:
        """Return a new place.

        Args:
            name: One of `NAMES`.
            path: An empty folder of the test.
        """
        running = self.server(name)
        url = running.url(f"runs/{path.parent.name}-{path.name}")
        return CloudPlace(
            url,
            running.options,
            continues=True,
            creates_once=True,
            compares=True,
            part=_PARTS[name],
            name=name,
            endpoint=running.endpoint,
            bucketless=url.replace(f"//{url.split('/')[2]}/", "//nobucket/"),
            wrong=_WRONG.get(name),
            proxy=running.proxy if name == "gcs" else None,
        )

    def server(self, name: str) -> Any:
        """Return the server of a cloud."""
        return self._servers.of(name, *_SERVERS[name])
