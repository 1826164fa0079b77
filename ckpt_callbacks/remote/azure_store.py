"""A prefix of a container of Azure Blob Storage."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import azure.core
import azure.core.exceptions
import azure.storage.blob

from .azure_client import AzureClient, answer_of
from .bucket import seconds_of, tag
from .object_store import ANY, ObjectFacts
from .part_stream import PartStream
from .parts import send_parts
from .upload import Upload

_UPLOAD = "blocks"  # the name of what has arrived of a blob; Azure has only one such upload of each blob


class AzureStore:
    """A prefix of a container; see `ObjectStore`.

    Large objects are sent by the SDK as blocks, whose names tell what they hold; the rest goes through obstore.

    Args:
        url: Such as ``az://container/runs/a``.
        options: `storage_options`; see `azure_client.OPTIONS`.
    """

    has_conditions = True

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._client = AzureClient(url, options)
        self._bucket = self._client.bucket
        self.url = self._bucket.url

    def put(self, key: str, data: bytes, *, replacing: str = ANY) -> ObjectFacts:
        """See `ObjectStore`."""
        return self._bucket.put(key, data, replacing)

    def read(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, ObjectFacts]:
        """See `ObjectStore`."""
        return self._bucket.read(key, start, length)

    def stat(self, key: str) -> ObjectFacts | None:
        """See `ObjectStore`. Azure has the checksum of what was put, not that of what was uploaded in blocks."""
        path = self._bucket.path(key)
        with self._client.errors():
            try:
                found = self._client.blob(path).get_blob_properties()
            except azure.core.exceptions.ResourceNotFoundError as error:
                if answer_of(error).code == "ContainerNotFound":
                    raise
                return None
        return _facts(key, found)

    def list(self, prefix: str = "", *, unfinished: bool = False) -> Iterator[ObjectFacts]:
        """See `ObjectStore`. What has arrived for a blob that exists is not listed; Azure forgets it after a week."""
        include = ["uncommittedblobs"] if unfinished else []
        with self._client.errors():
            pages = self._client.made.list_blobs(name_starts_with=self._bucket.root + prefix, include=include).by_page()
        while True:
            with self._client.errors():
                page = next(pages, None)
                found = [] if page is None else list(page)
            if page is None:
                return
            for blob in found:
                key = self._bucket.key(blob.name)
                if key is not None and (facts := self._listed(key, blob, unfinished)) is not None:
                    yield facts

    def delete(self, objects: Iterable[ObjectFacts]) -> None:
        """See `ObjectStore`."""
        whole = []
        for each in objects:
            if each.upload:
                self._forget(each.key)
            else:
                whole.append(each.key)
        self._bucket.delete(whole)

    def upload(self, upload: Upload) -> ObjectFacts:
        """See `ObjectStore`."""
        blob = self._client.blob(self._bucket.path(upload.key))
        if not upload.size:
            return self._commit(blob, upload, [])  # no block is empty
        names = [""] * upload.count
        committed, arrived = self._blocks(blob) if upload.state else ([], set())
        if upload.state:
            places = {_place_in(name) for name in (*committed, *arrived)}
            for number in range(upload.count):
                if _place_in(_name_of(number, b"")) in places:  # all others are to be sent
                    names[number] = _name_of(number, _md5(upload.looked_at(number)))
            if committed == names:  # by an earlier process, which could not note that any more
                facts = self.stat(upload.key)
                if facts is not None:
                    return facts
        else:
            upload.note({"blocks": True})

        def send(number: int, data: bytes) -> None:
            digest = _md5(data)
            names[number] = _name_of(number, digest)
            with self._client.errors():
                blob.stage_block(names[number], PartStream(data), length=len(data), raw_request_hook=_with_md5(digest))

        send_parts(upload, [n for n in range(upload.count) if not names[n] or names[n] not in arrived], send)
        return self._commit(blob, upload, names)

    def _commit(self, blob: Any, upload: Upload, names: Iterable[str]) -> ObjectFacts:
        with self._client.errors():
            done = blob.commit_block_list([azure.storage.blob.BlobBlock(name) for name in names])
        return ObjectFacts(upload.key, upload.size, tag(done["etag"]))

    def _blocks(self, blob: Any) -> tuple[Sequence[str], Collection[str]]:
        """Return the names of the blocks of a blob, and of those that have arrived since then."""
        with self._client.errors():
            try:
                committed, arrived = blob.get_block_list("all")
            except azure.core.exceptions.ResourceNotFoundError as error:
                if answer_of(error).code == "ContainerNotFound":
                    raise
                return [], set()
        return [block.id for block in committed], {block.id for block in arrived}

    def _listed(self, key: str, blob: Any, unfinished: bool) -> ObjectFacts | None:
        if not unfinished:
            return _facts(key, blob)
        if blob.size:
            return None
        committed, arrived = self._blocks(self._client.blob(blob.name))
        if not arrived or committed:
            return None
        return ObjectFacts(key, modified=seconds_of(blob.last_modified), upload=_UPLOAD)

    def _forget(self, key: str) -> None:
        """Make Azure forget what has arrived of a blob that does not exist yet."""
        blob = self._client.blob(self._bucket.path(key))
        with self._client.errors():
            try:
                # An empty blob takes the place of the blocks; then it is deleted, unless somebody has written it.
                made = blob.upload_blob(b"", overwrite=False)
                blob.delete_blob(etag=made["etag"], match_condition=azure.core.MatchConditions.IfNotModified)
            except azure.core.exceptions.ResourceModifiedError:
                pass
            except azure.core.exceptions.ResourceExistsError:
                if self.stat(key) is None:  # Azurite takes the blocks for a blob, and deletes them as one
                    self._bucket.delete([key])


def _facts(key: str, found: Any) -> ObjectFacts:
    md5 = found.content_settings.content_md5
    checksum = f"md5:{bytes(md5).hex()}" if md5 else ""
    return ObjectFacts(key, found.size, tag(found.etag), checksum, seconds_of(found.last_modified))


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _name_of(number: int, digest: bytes) -> str:
    """Return the name of a block, which tells its place and its bytes. All names of a blob have the same length."""
    return base64.b64encode(f"{number:05d}-{digest.hex()}".encode()).decode()


def _place_in(name: str) -> str:
    """Return the beginning of a block's name, which tells its place."""
    return name[:8]  # six bytes before they were encoded


def _with_md5(digest: bytes) -> Any:
    """Return a hook that adds the checksum to a request, which Azure compares."""

    def add(request: Any) -> None:
        request.http_request.headers["Content-MD5"] = base64.b64encode(digest).decode()

    return add
