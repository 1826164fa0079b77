"""A prefix of a bucket of S3, or of a store that speaks its language."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import botocore.exceptions

from ..errors import MirrorError
from .bucket import seconds_of, tag
from .checksums import crc32, in_header
from .object_store import ANY, ObjectFacts
from .part_stream import PartStream
from .parts import send_parts
from .s3_client import S3Client, answer_of
from .s3_multipart import Multipart, checksum_of, compare_part
from .upload import Upload

_LEAST = 5 << 20  # bytes of all parts but the last one; S3 refuses smaller ones when it puts them together


class S3Store:
    """A prefix of a bucket; see `ObjectStore`.

    Large objects are sent by boto3 as multipart uploads, which go on where they were; the rest goes through obstore.

    Args:
        url: Such as ``s3://bucket/runs/a``.
        options: `storage_options`; see `s3_client.OPTIONS`.
    """

    has_conditions = True

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._client = S3Client(url, options)
        self._bucket = self._client.bucket
        self.url = self._bucket.url
        self._encryption = {
            name: self._client.options[option]
            for name, option in (("ServerSideEncryption", "server_side_encryption"), ("SSEKMSKeyId", "sse_kms_key_id"))
            if option in self._client.options
        }

    def put(self, key: str, data: bytes, *, replacing: str = ANY) -> ObjectFacts:
        """See `ObjectStore`."""
        return self._bucket.put(key, data, replacing)

    def read(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, ObjectFacts]:
        """See `ObjectStore`."""
        return self._bucket.read(key, start, length)

    def stat(self, key: str) -> ObjectFacts | None:
        """See `ObjectStore`."""
        path = self._bucket.path(key)
        try:
            with self._client.errors():
                try:
                    found = self._client.made.head_object(Bucket=self._bucket.name, Key=path, ChecksumMode="ENABLED")
                except botocore.exceptions.ClientError as error:
                    if answer_of(error).status == 404:
                        return None
                    raise
        except MirrorError as error:
            # An answer to HEAD has no body, so it does not say what is wrong. One to a list does.
            if type(error) is MirrorError:
                next(self.list(key), None)
            raise
        return ObjectFacts(
            key, found["ContentLength"], tag(found["ETag"]), checksum_of(found), seconds_of(found["LastModified"])
        )

    def list(self, prefix: str = "", *, unfinished: bool = False) -> Iterator[ObjectFacts]:
        """See `ObjectStore`."""
        where = {"Bucket": self._bucket.name, "Prefix": self._bucket.root + prefix}
        with self._client.errors():
            operation = "list_multipart_uploads" if unfinished else "list_objects_v2"
            pages = iter(self._client.made.get_paginator(operation).paginate(**where))
        while True:
            with self._client.errors():
                page = next(pages, None)
            if page is None:
                return
            found = [self._listed(one) for one in page.get("Uploads" if unfinished else "Contents", ())]
            # Some servers list folder by folder.
            yield from sorted((facts for facts in found if facts is not None), key=lambda facts: facts.key)

    def delete(self, objects: Iterable[ObjectFacts]) -> None:
        """See `ObjectStore`."""
        whole = []
        for each in objects:
            if each.upload:
                self._abort(self._bucket.path(each.key), each.upload)
            else:
                whole.append(each.key)
        self._bucket.delete(whole)

    def upload(self, upload: Upload) -> ObjectFacts:
        """See `ObjectStore`."""
        upload = replace(upload, part=max(upload.part, _LEAST))
        path, stale = self._bucket.path(upload.key), upload.state.get("upload_id")
        if stale and upload.state.get("plan") != upload.plan:
            with suppress(MirrorError):  # of a file that has changed
                self._abort(path, stale)
        if upload.count == 1:
            return self._send_whole(path, upload)
        return Multipart(self._client, path, upload, self._encryption).sent(self.stat)

    def _send_whole(self, path: str, upload: Upload) -> ObjectFacts:
        found: list[ObjectFacts] = []

        def send(number: int, data: bytes) -> None:
            checksum = crc32(data)
            with self._client.errors():
                done = self._client.made.put_object(
                    Bucket=self._bucket.name,
                    Key=path,
                    Body=PartStream(data),
                    ChecksumCRC32=in_header(checksum),
                    **self._encryption,
                )
            compare_part(f"{self.url}/{upload.key}", data, checksum, done)
            found.append(ObjectFacts(upload.key, len(data), tag(done["ETag"]), checksum_of(done)))

        send_parts(upload, [0], send)
        return found[0]

    def _abort(self, path: str, upload_id: str) -> None:
        with self._client.errors():
            try:
                self._client.made.abort_multipart_upload(Bucket=self._bucket.name, Key=path, UploadId=upload_id)
            except botocore.exceptions.ClientError as error:
                if answer_of(error).code != "NoSuchUpload":
                    raise

    def _listed(self, one: Mapping[str, Any]) -> ObjectFacts | None:
        key = self._bucket.key(one["Key"])
        if key is None:
            return None
        if "UploadId" in one:
            return ObjectFacts(key, modified=seconds_of(one.get("Initiated")), upload=one["UploadId"])
        return ObjectFacts(key, one["Size"], tag(one.get("ETag")), modified=seconds_of(one.get("LastModified")))
