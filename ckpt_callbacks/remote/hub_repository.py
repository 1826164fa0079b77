"""A model repository of the Hugging Face Hub."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from huggingface_hub.errors import HfHubHTTPError

from ..errors import MirrorUnreachable
from .hub import Hub, quoted
from .hub_bucket import check_version
from .object_store import ANY, ObjectFacts

_MOVED = (409, 412)  # somebody else has committed meanwhile
_TRIES = 5


class HubRepository:
    """Files of a repository. Each change is a commit on the one before, so that of two writers one wins.

    Args:
        hub: The Hub.
        name: ``namespace/name``.
    """

    has_conditions = True

    def __init__(self, hub: Hub, name: str) -> None:
        self._hub, self._name, self._api = hub, name, f"api/models/{name}"
        self._branch = quoted(hub.revision)

    def find(self, paths: Sequence[str], revision: str = "") -> list[ObjectFacts]:
        """Return the facts of the files that exist.

        Args:
            paths: Their paths.
            revision: The commit; the newest one by default.
        """
        wanted = {"paths": list(paths), "expand": False}
        answer = self._hub.request("POST", f"{self._api}/paths-info/{revision or self._branch}", data=wanted)
        return [_facts(item) for item in answer.json() if item["type"] == "file"]

    def list(self, folder: str) -> Iterator[ObjectFacts]:
        """Yield the files below a folder."""
        below = f"/{quoted(folder)}" if folder else ""
        for item in self._hub.pages(f"{self._api}/tree/{self._branch}{below}?recursive=true&expand=false"):
            if item["type"] == "file":
                yield _facts(item)

    def read(self, path: str, start: int, length: int) -> bytes:
        """Return bytes of a file."""
        return self._hub.bytes_of(f"{self._name}/resolve/{self._branch}/{quoted(path, '/')}", start, length)

    def put(self, path: str, data: bytes, replacing: str) -> ObjectFacts:
        """Write a small file, if it has a version."""
        content = base64.b64encode(data).decode()
        change = {"key": "file", "value": {"content": content, "path": path, "encoding": "base64"}}
        for _ in range(_TRIES):
            parent = self._hub.request("GET", f"{self._api}/revision/{self._branch}").json()["sha"]
            if replacing != ANY:
                found = self.find([path], parent)
                check_version(found[0].version if found else "", replacing)
            try:
                self._commit([change], f"Write {path}", parent)
            except HfHubHTTPError as error:
                if error.response.status_code not in _MOVED:
                    raise
            else:
                return ObjectFacts(path, len(data), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())
        raise MirrorUnreachable("others commit to this repository all the time; try again, or use a bucket")

    def upload(self, path: str, pieces: Iterable[bytes]) -> ObjectFacts:
        """Write a file. It appears when all of it has arrived, and the Hub has compared its SHA-256."""
        stored = self._hub.store(f"{self._api}/xet-write-token/{self._branch}", pieces, sha256=True)
        if not stored.size:
            return self.put(path, b"", ANY)
        value = {"path": path, "algo": "sha256", "oid": stored.sha256, "size": stored.size}
        self._commit([{"key": "lfsFile", "value": value}], f"Upload {path}")
        return ObjectFacts(path, stored.size, stored.sha256, f"sha256:{stored.sha256}")

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files, of which some may be missing."""
        found = [{"key": "deletedFile", "value": {"path": each.key}} for each in self.find(paths)]
        if found:
            self._commit(found, f"Delete {len(found)} file{'s' if len(found) > 1 else ''}")

    def _commit(self, changes: Sequence[Mapping[str, Any]], message: str, parent: str = "") -> None:
        header = {"summary": message, "description": "", **({"parentCommit": parent} if parent else {})}
        self._hub.post_lines(f"{self._api}/commit/{self._branch}", [{"key": "header", "value": header}, *changes])


def _facts(item: dict[str, Any]) -> ObjectFacts:
    large = item.get("lfs")
    if large:
        return ObjectFacts(item["path"], large["size"], large["oid"], f"sha256:{large['oid']}")
    return ObjectFacts(item["path"], item["size"], item["oid"])
