"""A bucket of the Hugging Face Hub."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from huggingface_hub.utils import hf_raise_for_status

from ..errors import MirrorConflict
from .hub import Hub, quoted
from .object_store import ANY, ObjectFacts


class HubBucket:
    """Files of a bucket. The Hub compares no versions in buckets, so they are looked at first.

    Args:
        hub: The Hub.
        name: ``namespace/name``.
    """

    has_conditions = False

    def __init__(self, hub: Hub, name: str) -> None:
        self._hub, self._api, self._files = hub, f"api/buckets/{name}", f"buckets/{name}/resolve"

    def find(self, paths: Sequence[str]) -> list[ObjectFacts]:
        """Return the facts of the files that exist."""
        answer = self._hub.request("POST", f"{self._api}/paths-info", json={"paths": list(paths)})
        return [_facts(item) for item in answer.json() if item["type"] == "file"]

    def list(self, folder: str) -> Iterator[ObjectFacts]:
        """Yield the files below a folder, and perhaps others."""
        below = f"/{quoted(folder)}" if folder else ""
        for item in self._hub.pages(f"{self._api}/tree{below}?recursive=true"):
            if item["type"] == "file":
                yield _facts(item)

    def read(self, path: str, start: int, length: int) -> bytes:
        """Return bytes of a file."""
        return self._hub.bytes_of(f"{self._files}/{quoted(path)}", start, length)

    def put(self, path: str, data: bytes, replacing: str) -> ObjectFacts:
        """Write a small file, if it has a version."""
        if replacing != ANY:
            found = self.find([path])
            check_version(found[0].version if found else "", replacing)
        return self.upload(path, [data])

    def upload(self, path: str, pieces: Iterable[bytes]) -> ObjectFacts:
        """Write a file. It appears when all of it has arrived."""
        stored = self._hub.store(f"{self._api}/xet-write-token", pieces)
        now = int(time.time() * 1000)
        self._change([{"type": "addFile", "path": path, "xetHash": stored.xet, "mtime": now}])
        return ObjectFacts(path, stored.size, stored.xet)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files, of which some may be missing."""
        found = [each.key for each in self.find(paths)]
        if found:
            self._change([{"type": "deleteFile", "path": path} for path in found], missing=True)

    def _change(self, operations: Sequence[Mapping[str, Any]], *, missing: bool = False) -> None:
        answer = self._hub.post_lines(f"{self._api}/batch", operations, check=False)
        if answer.status_code in (200, 422):  # the body says which operations failed, and why
            failed = [each["path"] for each in answer.json().get("failed", [])]
            if not failed or (missing and not self.find(failed)):
                return
            if answer.status_code == 200:
                raise OSError(f"the Hub has not changed {failed[0]}")
        hf_raise_for_status(answer)


def check_version(version: str, replacing: str) -> None:
    """Check what a file is before it is replaced.

    Args:
        version: Its version; empty if there is no file.
        replacing: The version that it must have.

    Raises:
        MirrorConflict: It has another one.
    """
    if replacing not in (ANY, version):
        if not version:
            raise MirrorConflict("another process has deleted it")
        raise MirrorConflict("another process has written it" if replacing else "it exists already")


def _facts(item: dict[str, Any]) -> ObjectFacts:
    when = item.get("uploadedAt") or item.get("mtime")
    modified = datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp() if when else 0.0
    return ObjectFacts(item["path"], item["size"], item.get("xetHash") or "", modified=modified)
