"""A prefix of a bucket of Google Cloud Storage."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

import google_crc32c
import requests

from ..errors import MirrorConflict, MirrorDamaged, MirrorError, MirrorUnreachable
from .bucket import seconds_of
from .checksums import checksum_of_file, in_header, spelled
from .gcs_client import GcsClient
from .object_store import ANY, ObjectFacts
from .part_stream import PartStream
from .parts import send_parts
from .upload import Upload

_STEP = 256 << 10  # bytes; all parts but the last one are a multiple of it
_FIELDS = "name,size,generation,crc32c,updated"
_PAGE = 1000
_GONE = (404, 410)  # what is answered about a session that is over


class GcsStore:
    """A prefix of a bucket; see `ObjectStore`.

    Objects are read and deleted through obstore. The rest goes through the JSON interface, which tells the checksum of
    an object, and how much of an upload has arrived.

    Args:
        url: Such as ``gs://bucket/runs/a``.
        options: `storage_options`; see `gcs_client.OPTIONS`.
    """

    has_conditions = True

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._client = GcsClient(url, options)
        self._bucket = self._client.bucket
        self.url = self._bucket.url
        self._objects = f"/storage/v1/b/{self._bucket.name}/o"

    def put(self, key: str, data: bytes, *, replacing: str = ANY) -> ObjectFacts:
        """See `ObjectStore`; the version is the generation."""
        condition = {} if replacing == ANY else {"ifGenerationMatch": replacing or "0"}
        try:
            return self._insert(key, data, condition)
        except MirrorConflict:
            raise self._bucket.conflict(key, replacing) from None

    def read(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, ObjectFacts]:
        """See `ObjectStore`."""
        return self._bucket.read(key, start, length)

    def stat(self, key: str) -> ObjectFacts | None:
        """See `ObjectStore`."""
        url = self._client.url(f"{self._objects}/{quote(self._bucket.path(key), safe='')}")
        found = self._client.request("GET", url, params={"fields": _FIELDS}, passing=(404,))
        return None if found.status_code == 404 else _facts(key, found.json())

    def list(self, prefix: str = "", *, unfinished: bool = False) -> Iterator[ObjectFacts]:
        """See `ObjectStore`. Google does not list the uploads that are not finished, and forgets them after a week."""
        if unfinished:
            return
        asked = {"prefix": self._bucket.root + prefix, "maxResults": _PAGE}
        asked["fields"] = f"nextPageToken,items({_FIELDS})"
        while True:
            page = self._client.request("GET", self._client.url(self._objects), params=asked).json()
            for item in page.get("items", ()):
                key = self._bucket.key(item["name"])
                if key is not None:
                    yield _facts(key, item)
            if not page.get("nextPageToken"):
                return
            asked["pageToken"] = page["nextPageToken"]

    def delete(self, objects: Iterable[ObjectFacts]) -> None:
        """See `ObjectStore`."""
        self._bucket.delete([each.key for each in objects])

    def upload(self, upload: Upload) -> ObjectFacts:
        """See `ObjectStore`. Google takes the parts of one upload one after the other."""
        stepped = replace(upload, part=-(-upload.part // _STEP) * _STEP)
        session = _Session(self._client, self._bucket.path(upload.key), stepped)
        if stepped.count > 1:
            return self._compared(session.sent(self.stat), stepped)
        session.forget()
        found: list[ObjectFacts] = []
        send_parts(stepped, [0], lambda number, data: found.append(self._insert(upload.key, data, {})))
        return found[0]

    def _insert(self, key: str, data: bytes, condition: Mapping[str, str]) -> ObjectFacts:
        """Write an object in one request."""
        path, checksum, border = self._bucket.path(key), google_crc32c.value(data), uuid.uuid4().hex
        facts = json.dumps({"name": path, "crc32c": in_header(checksum)})  # Google compares it
        head = f"--{border}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{facts}\r\n--{border}\r\n"
        body = b"".join(
            (head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", data, f"\r\n--{border}--".encode())
        )
        found = self._client.request(
            "POST",
            self._client.url(f"/upload{self._objects}"),
            params={"uploadType": "multipart", **condition},
            data=PartStream(body),
            headers={"Content-Type": f"multipart/related; boundary={border}"},
        )
        written = _facts(key, found.json())
        if written.checksum != f"crc32c:{checksum:08x}":
            raise self._damaged(key)
        return written

    def _compared(self, facts: ObjectFacts, upload: Upload) -> ObjectFacts:
        if facts.checksum != checksum_of_file("crc32c", upload):
            upload.note({})  # a session that is over would tell the same object again
            raise self._damaged(upload.key)
        return facts

    def _damaged(self, key: str) -> MirrorDamaged:
        return MirrorDamaged(f"{self.url}/{key}: holds other bytes than were sent; it is sent again")


class _Session:
    """A resumable upload, which an earlier process may have begun. Its address is a secret."""

    def __init__(self, client: GcsClient, path: str, upload: Upload) -> None:
        self._client, self._path, self._upload = client, path, upload
        self._url = str(upload.state.get("session", ""))

    def sent(self, stat: Callable[[str], ObjectFacts | None]) -> ObjectFacts:
        """Send what is missing, and return the facts of the object.

        Args:
            stat: Returns the facts of an object by its key.
        """
        arrived: int | ObjectFacts | None = None
        if self._url and self._upload.state.get("plan") == self._upload.plan:
            arrived = self._status()
            if arrived is None:  # an earlier process may have finished it, and could not note that any more
                there = stat(self._upload.key)
                if there is not None and there.checksum == checksum_of_file("crc32c", self._upload):
                    return there
        else:
            self.forget()
        if arrived is None:
            self._begin()
            arrived = 0
        while isinstance(arrived, int):
            arrived = self._send(arrived)
        return arrived

    def forget(self) -> None:
        """Cancel the upload of a file that has changed."""
        if self._url:
            with suppress(MirrorError):
                self._client.request("DELETE", self._url, passing=(*_GONE, 499))
            self._url = ""

    def _begin(self) -> None:
        found = self._client.request(
            "POST",
            self._client.url(f"/upload/storage/v1/b/{self._client.bucket.name}/o"),
            params={"uploadType": "resumable", "name": self._path},
            json={"name": self._path},
            headers={"X-Upload-Content-Length": str(self._upload.size)},
        )
        self._url = found.headers["Location"]
        self._upload.note({"session": self._url, "plan": self._upload.plan})

    def _status(self) -> int | ObjectFacts | None:
        """Return how many bytes have arrived, or the facts of the whole object; None if the upload is not known."""
        found = self._client.request(
            "PUT", self._url, headers={"Content-Range": f"bytes */{self._upload.size}"}, passing=_GONE
        )
        return None if found.status_code in _GONE else self._outcome(found)

    def _send(self, start: int) -> int | ObjectFacts:
        number = start // self._upload.part
        end = number * self._upload.part + self._upload.length(number)
        self._upload.before(end - start)
        data = self._upload.bytes_of(number)[start - number * self._upload.part :]
        found = self._client.request(
            "PUT",
            self._url,
            data=PartStream(data),
            headers={"Content-Range": f"bytes {start}-{end - 1}/{self._upload.size}"},
            passing=_GONE,
        )
        arrived = None if found.status_code in _GONE else self._outcome(found)
        if arrived is None or (isinstance(arrived, int) and arrived <= start):
            raise MirrorUnreachable(
                f"{self._client.bucket.url}: has not kept a part of {self._upload.key}; it is sent again"
            )
        self._upload.progress((arrived if isinstance(arrived, int) else end) - start)
        return arrived

    def _outcome(self, found: requests.Response) -> int | ObjectFacts:
        if found.status_code == 308:
            last = found.headers.get("Range", "").rpartition("-")[2]  # missing if nothing has arrived
            return int(last) + 1 if last else 0
        return _facts(self._upload.key, found.json())


def _facts(key: str, item: Mapping[str, Any]) -> ObjectFacts:
    checksum, updated = item.get("crc32c", ""), item.get("updated")
    return ObjectFacts(
        key,
        int(item.get("size", 0)),
        str(item["generation"]),
        spelled("crc32c", checksum) if checksum else "",
        seconds_of(datetime.fromisoformat(updated[:19] + "+00:00") if updated else None),
    )
