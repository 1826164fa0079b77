"""Requests to the Hugging Face Hub, and to its storage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin

import hf_xet
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from ..errors import MirrorError, MirrorUnreachable
from .secrets import scrubbed

_PATIENCE = 60.0  # seconds without any progress; the Hub's own client would wait for ever
_LASTING = {
    400: "the Hub did not understand the request",
    401: "the Hub refused the token; log in with `hf auth login`, or set HF_TOKEN",
    403: "the token may not do that; expected one with write access",
    404: "there is no such place on the Hub, or the token may not see it; create it, or check the token",
    413: "the file is larger than the Hub accepts",
    422: "the Hub refused the change",
}
_OPTIONS = ("token", "endpoint", "revision")


class Stored(NamedTuple):
    """Bytes in the Hub's storage, which no file refers to yet: their hash there, their number, and their SHA-256."""

    xet: str
    size: int
    sha256: str


class Hub:
    """A connection to the Hub. It compares nothing and tries once.

    The token comes from `storage_options`, ``HF_TOKEN`` or ``hf auth login``; the address from `storage_options` or
    ``HF_ENDPOINT``.

    Args:
        url: Of the store, for messages.
        options: ``token``, ``endpoint`` and, of a repository, ``revision``.

    Raises:
        MirrorError: Another option.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise MirrorError(f"{url}: storage_options has {', '.join(unknown)}; expected {', '.join(_OPTIONS)}")
        self._url, self._options = url, dict(options)
        self.endpoint = str(options.get("endpoint") or constants.ENDPOINT).rstrip("/")
        self.revision = str(options.get("revision") or constants.DEFAULT_REVISION)

    def _headers(self) -> dict[str, str]:
        return dict(build_hf_headers(token=self._options.get("token"), library_name="ckpt-callbacks"))

    def request(self, method: str, path: str, *, check: bool = True, **arguments: Any) -> Any:
        """Return the answer to a request.

        Args:
            method: Such as ``GET``.
            path: The path below the endpoint, or the whole URL.
            check: Raise the Hub's error if it refuses.
            arguments: Of httpx.
        """
        headers = {**self._headers(), **arguments.pop("headers", {})}
        answer = get_session().request(
            method, urljoin(f"{self.endpoint}/", path), headers=headers, timeout=_PATIENCE, **arguments
        )
        if check:
            hf_raise_for_status(answer)
        return answer

    def post_lines(self, path: str, lines: Iterable[Mapping[str, Any]], *, check: bool = True) -> Any:
        """Return the answer to a list of operations."""
        content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        return self.request(
            "POST", path, content=content, headers={"Content-Type": "application/x-ndjson"}, check=check
        )

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, which comes in pages; nothing if there is no such folder."""
        next_page: str | None = path
        while next_page:
            try:
                answer = self.request("GET", next_page)
            except EntryNotFoundError:
                return
            yield from answer.json()
            next_page = answer.links.get("next", {}).get("url")

    def bytes_of(self, path: str, start: int, length: int) -> bytes:
        """Return bytes of a file.

        Raises:
            FileNotFoundError: There is no such file.
        """
        wanted = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
        answer = self.request("GET", path, headers=wanted, check=False)
        if answer.status_code == 404:
            raise FileNotFoundError(path)
        hf_raise_for_status(answer)
        data: bytes = answer.content
        return data if answer.status_code == 206 else data[start : start + length]

    def store(self, token_path: str, pieces: Iterable[bytes], *, sha256: bool = False) -> Stored:
        """Send bytes to the storage, without those that finished uploads have brought there.

        Args:
            token_path: Where the storage's own token comes from.
            pieces: The bytes.
            sha256: Compute the SHA-256 as well.
        """
        token = self.request(
            "GET", token_path
        ).json()  # by us, because the storage's library does not say what is wrong
        headers = self._headers()
        with _session().new_upload_commit(
            endpoint=token["casUrl"],
            token=token["accessToken"],
            token_expiry_unix_secs=int(token["exp"]),
            token_refresh_url=urljoin(f"{self.endpoint}/", token_path),
            token_refresh_headers=headers,
            custom_headers={name: value for name, value in headers.items() if name.lower() != "authorization"},
        ) as commit:
            stream = commit.start_upload_stream(sha256=hf_xet.COMPUTE_SHA256 if sha256 else hf_xet.SKIP_SHA256)
            for piece in pieces:
                stream.write(piece)
            found = stream.finish().xet_info
        return Stored(found.hash, found.file_size, found.sha256 or "")

    def problem(self, where: str, error: Exception) -> MirrorError:
        """Return the error of the mirror for one of the client, without secrets.

        Args:
            where: What the message begins with.
            error: The error.
        """
        text = scrubbed(error, self._options)
        status = getattr(getattr(error, "response", None), "status_code", 0) if isinstance(error, HfHubHTTPError) else 0
        if isinstance(error, hf_xet.XetAuthenticationError):
            status = 401
        if status in _LASTING:
            return MirrorError(f"{where}: {_LASTING[status]} (HTTP {status})")
        if isinstance(error, OfflineModeIsEnabled):
            return MirrorError(f"{where}: HF_HUB_OFFLINE is set; unset it for this mirror")
        return MirrorUnreachable(f"{where}: {text or type(error).__name__}")


def _session() -> Any:
    """Return a new session, because its threads do not survive a fork. It gives up after a minute, not after six."""
    limits = {"client.retry_max_attempts": 1, "client.connect_timeout": "30s", "client.read_timeout": "60s"}
    try:
        return hf_xet.XetSession(hf_xet.XetConfig().with_config(limits))
    except (AttributeError, TypeError, ValueError):  # names of other releases
        return hf_xet.XetSession()


def quoted(path: str, safe: str = "") -> str:
    """Return a path as a part of a URL."""
    return quote(path, safe=safe)
