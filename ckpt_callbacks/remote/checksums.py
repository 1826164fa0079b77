"""Checksums as stores compute them, of what is on this machine."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from isal import isal_zlib

from .upload import Upload

CRC32: Final = "crc32"


def crc32(data: bytes) -> int:
    """Return the CRC-32 of some bytes."""
    return int(isal_zlib.crc32(data))


def crc32_of_parts(sums: Iterable[int], upload: Upload) -> int:
    """Return the CRC-32 of a file from those of its parts."""
    whole = 0
    for number, one in enumerate(sums):
        whole = isal_zlib.crc32_combine(whole, one, upload.length(number))
    return whole


def in_header(checksum: int) -> str:
    """Return a checksum of 32 bits as headers of HTTP hold it."""
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()


def spelled(name: str, encoded: str) -> str:
    """Return a checksum as `ObjectFacts` holds it.

    Args:
        name: Of the algorithm.
        encoded: The checksum in Base64.
    """
    return f"{name}:{base64.b64decode(encoded).hex()}"


def local_checksum(algorithm: str, pieces: Iterable[bytes]) -> str:
    """Return a checksum as `ObjectFacts` holds it; empty if the algorithm is not known here.

    Args:
        algorithm: Its name, such as ``crc32c``; all that follows a colon is left out.
        pieces: The bytes, in order.
    """
    name = algorithm.partition(":")[0]
    if name in ("md5", "sha1", "sha256"):
        digest = hashlib.new(name, usedforsecurity=False)
        for piece in pieces:
            digest.update(piece)
        return f"{name}:{digest.hexdigest()}"
    extend = _extend(name)
    if extend is None:
        return ""
    value = 0
    for piece in pieces:
        value = extend(value, piece)
    return f"{name}:{value:08x}"


def checksum_of_file(algorithm: str, upload: Upload) -> str:
    """Return the checksum of the file of an upload, of which one part at a time is read; empty if it is not known."""
    return local_checksum(algorithm, map(upload.looked_at, range(upload.count)))


def _extend(name: str) -> Callable[[int, bytes], int] | None:
    if name == CRC32:
        return lambda value, piece: int(isal_zlib.crc32(piece, value))
    if name == "crc32c":
        try:
            import google_crc32c
        except ImportError:
            return None
        return lambda value, piece: int(google_crc32c.extend(value, piece))
    return None
