"""Azurite, Microsoft's own server for tests of Azure Blob Storage."""

import base64
import os
import shutil
from pathlib import Path

from .process import ROOT_ENVIRONMENT, Server, free_port

ACCOUNT, KEY = "canaryaccount", base64.b64encode(b"canary-azure-account-key").decode()
CONTAINER = "container"
_ROOT = Path(ROOT_ENVIRONMENT["PYTHONPATH"])
_NAME = "azurite-blob"


def _program() -> str | None:
    """Return the program that AZURITE names, that npm has installed below build/ or here, or that is in the path."""
    places = [os.environ.get("AZURITE", ""), *(str(_ROOT / up / "node_modules/.bin" / _NAME) for up in ("build", "."))]
    return next((place for place in places if place and Path(place).exists()), None) or shutil.which(_NAME)


def missing() -> str:
    """Return why the server cannot run here; empty if it can."""
    if shutil.which("node") is None:
        return "Node.js is not installed"
    return "" if _program() else "Azurite is not installed; `make test-mirrors` installs it"


class Azurite:
    """A server with one container.

    Args:
        folder: For what it stores, and its log.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        command = [
            *(_program() or _NAME, "--blobHost", "127.0.0.1", "--blobPort", str(self.port)),
            *("--location", str(folder / "stored"), "--silent", "--skipApiVersionCheck", "--disableTelemetry"),
        ]
        accounts = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        self.server = Server(command, self.port, folder / "azurite.log", accounts)
        from azure.storage.blob import BlobServiceClient

        credential = {"account_name": ACCOUNT, "account_key": KEY}
        BlobServiceClient(self.endpoint, credential=credential).create_container(CONTAINER)

    @property
    def endpoint(self) -> str:
        """The URL of the account."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def options(self) -> dict[str, object]:
        """The `storage_options` that a client needs."""
        return {"endpoint": self.endpoint, "account_name": ACCOUNT, "account_key": KEY}

    def url(self, path: str) -> str:
        """Return the URL of a prefix."""
        return f"az://{CONTAINER}/{path}"
