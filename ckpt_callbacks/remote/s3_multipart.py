"""A large object of S3 on its way, in parts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import botocore.exceptions

from ..errors import MirrorDamaged
from .bucket import tag
from .checksums import CRC32, checksum_of_file, crc32, crc32_of_parts, in_header, spelled
from .object_store import ObjectFacts
from .part_stream import PartStream
from .parts import send_parts
from .s3_client import S3Client, answer_of
from .upload import Upload

_NO_CHECKSUMS = ("InvalidArgument", "InvalidRequest", "NotImplemented")  # of stores that know only MD5
_MD5 = re.compile(r"[0-9a-f]{32}")
_SUMS = {
    "ChecksumCRC32": CRC32,
    "ChecksumCRC32C": "crc32c",
    "ChecksumCRC64NVME": "crc64nvme",
    "ChecksumSHA256": "sha256",
}


class Multipart:
    """A multipart upload, which an earlier process may have begun."""

    def __init__(self, client: S3Client, path: str, upload: Upload, encryption: Mapping[str, Any]) -> None:
        self._client, self._upload, self._encryption = client, upload, encryption
        self._place = {"Bucket": client.bucket.name, "Key": path}
        self._where = f"{client.bucket.url}/{upload.key}"
        self._sums, self._tags = [0] * upload.count, [""] * upload.count
        self._whole = False  # whether the store keeps a checksum of the whole object

    def sent(self, stat: Callable[[str], ObjectFacts | None]) -> ObjectFacts:
        """Send what is missing, put the parts together, and return the facts of the object.

        Args:
            stat: Returns the facts of an object by its key.
        """
        state, arrived = self._upload.state, None
        kept = state.get("upload_id") if state.get("plan") == self._upload.plan else None
        if kept:
            arrived = self._arrived(kept)
            if arrived is None and (facts := self._finished(stat(self._upload.key))) is not None:
                return facts
        if arrived is None:
            kept, arrived = self._begin(), {}
        self._id, self._whole = kept, bool(self._upload.state["whole"])
        missing = [number for number in range(self._upload.count) if not self._has(number, arrived.get(number + 1))]
        send_parts(self._upload, missing, self._send)
        return self._complete()

    def _begin(self) -> str:
        with self._client.errors():
            create = self._client.made.create_multipart_upload
            place = {**self._place, **self._encryption}
            try:
                begun = create(**place, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
            except botocore.exceptions.ClientError as error:
                if answer_of(error).code not in _NO_CHECKSUMS:
                    raise
                begun = create(**place)
        whole = begun.get("ChecksumType") == "FULL_OBJECT"
        self._upload.note({"upload_id": begun["UploadId"], "plan": self._upload.plan, "whole": whole})
        return str(begun["UploadId"])

    def _arrived(self, upload_id: str) -> dict[int, Any] | None:
        """Return the parts that the store has by their number; None if it does not know the upload."""
        found: dict[int, Any] = {}
        with self._client.errors():
            try:
                for page in self._client.made.get_paginator("list_parts").paginate(**self._place, UploadId=upload_id):
                    found |= {part["PartNumber"]: part for part in page.get("Parts", ())}
            except botocore.exceptions.ClientError as error:
                if answer_of(error).code != "NoSuchUpload":
                    raise
                return None
        return found

    def _finished(self, facts: ObjectFacts | None) -> ObjectFacts | None:
        """Return the facts of the object if an earlier process has finished it, and could not note that any more."""
        if facts is None or facts.size != self._upload.size:
            return None
        if facts.checksum and checksum_of_file(facts.checksum, self._upload) == facts.checksum:
            return facts
        for number in range(self._upload.count) if facts.version.count("-") else ():
            self._tags[number] = hashlib.md5(self._upload.looked_at(number), usedforsecurity=False).hexdigest()
        return facts if facts.version == self._combined() else None

    def _has(self, number: int, part: Mapping[str, Any] | None) -> bool:
        """Return whether the store has a part of these bytes."""
        if part is None or part["Size"] != self._upload.length(number):
            return False
        data = self._upload.looked_at(number)
        self._sums[number], self._tags[number] = crc32(data), tag(part["ETag"])
        return _is_same(data, self._sums[number], part)

    def _send(self, number: int, data: bytes) -> None:
        checksum = crc32(data)
        sums = {"ChecksumCRC32": in_header(checksum)} if self._whole else {"ContentMD5": _md5_header(data)}
        done = self._call("upload_part", UploadId=self._id, PartNumber=number + 1, Body=PartStream(data), **sums)
        compare_part(self._where, data, checksum, done)
        self._sums[number], self._tags[number] = checksum, tag(done["ETag"])

    def _complete(self) -> ObjectFacts:
        parts: list[dict[str, Any]] = [{"PartNumber": n + 1, "ETag": f'"{each}"'} for n, each in enumerate(self._tags)]
        whole = in_header(crc32_of_parts(self._sums, self._upload))
        sums: dict[str, str] = {}
        if self._whole:
            sums = {"ChecksumCRC32": whole, "ChecksumType": "FULL_OBJECT"}
            for part, each in zip(parts, self._sums, strict=True):
                part["ChecksumCRC32"] = in_header(each)
        done = self._call("complete_multipart_upload", UploadId=self._id, MultipartUpload={"Parts": parts}, **sums)
        version, given = tag(done["ETag"]), done.get("ChecksumCRC32", "")
        same = given == whole if given and "-" not in given else version == self._combined() or not _MD5.match(version)
        if not same:
            raise MirrorDamaged(f"{self._where}: holds other bytes than were sent; it is sent again")
        return ObjectFacts(self._upload.key, self._upload.size, version, spelled(CRC32, whole) if given else "")

    def _combined(self) -> str:
        """Return the ETag of an object of these parts; empty if theirs are no MD5 sums, as those of encrypted ones."""
        if not all(_MD5.fullmatch(each) for each in self._tags):
            return ""
        joined = b"".join(map(bytes.fromhex, self._tags))
        return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(self._tags)}"

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        with self._client.errors():
            return dict(getattr(self._client.made, operation)(**self._place, **arguments))


def compare_part(where: str, data: bytes, checksum: int, done: Mapping[str, Any]) -> None:
    """Raise MirrorDamaged if a store has received other bytes, by what it answered."""
    if not _is_same(data, checksum, done):
        raise MirrorDamaged(f"{where}: holds other bytes than were sent; it is sent again")


def _is_same(data: bytes, checksum: int, part: Mapping[str, Any]) -> bool:
    if given := part.get("ChecksumCRC32"):
        return bool(given == in_header(checksum))
    etag = tag(part["ETag"])
    if not _MD5.fullmatch(etag) or part.get("ServerSideEncryption", "AES256") != "AES256":
        return True  # no MD5 sum; the size is compared when the parts are put together
    return etag == hashlib.md5(data, usedforsecurity=False).hexdigest()


def _md5_header(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def checksum_of(found: Mapping[str, Any]) -> str:
    """Return the checksum of a whole object."""
    for name, algorithm in _SUMS.items():
        if (given := found.get(name)) and "-" not in given and found.get("ChecksumType") != "COMPOSITE":
            return spelled(algorithm, given)
    etag = tag(found["ETag"])
    plain = found.get("ServerSideEncryption", "AES256") == "AES256" and not found.get("SSECustomerAlgorithm")
    return f"md5:{etag}" if plain and _MD5.fullmatch(etag) else ""
