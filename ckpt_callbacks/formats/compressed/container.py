"""The frame of a compressed checkpoint: a header, the chunks, and an index of them.

The header says what the native file is. Each chunk, the index and the header have a checksum, so that no byte can
change unnoticed. The first 16 bytes and the checksum at the end of the header are the same in all versions.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from ...errors import VerifyError

MAGIC, VERSION = b"\x89CKPT.CZ", 1
_START = struct.Struct("<8sII")  # the mark, the version, and the size of the whole header
_FACTS = struct.Struct("<QIQQ16s")  # sizes of the native file and a chunk, place and checksum of the index, digest
_CHECKSUM = struct.Struct("<Q")
_ENTRY = struct.Struct("<IQ")  # the size of a chunk, compressed, and its checksum
_LONGEST = 64 << 20  # bytes of a header; it holds a record


@dataclass(frozen=True)
class Header:
    """The facts at the beginning of a file.

    Attributes:
        size: Bytes of the native file.
        chunk: Bytes of each chunk but the last.
        digest: XXH3 of the native file, of 16 bytes.
        index_at: Where the index begins.
        index_checksum: Of the index.
        facts: What this package has embedded in the native file.
    """

    size: int
    chunk: int
    digest: bytes
    index_at: int
    index_checksum: int
    facts: Mapping[str, Any]

    @property
    def count(self) -> int:
        """The number of chunks."""
        return -(-self.size // self.chunk)

    def to_bytes(self) -> bytes:
        """Return the header; its length depends only on the embedded facts."""
        embedded = json.dumps(self.facts).encode()
        fixed = _FACTS.pack(self.size, self.chunk, self.index_at, self.index_checksum, self.digest)
        length = _START.size + len(fixed) + len(embedded) + _CHECKSUM.size
        covered = _START.pack(MAGIC, VERSION, length) + fixed + embedded
        return covered + _CHECKSUM.pack(checksum(covered))


@dataclass(frozen=True)
class Extent:
    """Where a compressed chunk is in the file.

    Attributes:
        start: Its first byte.
        length: Its bytes.
        checksum: XXH3 of these.
    """

    start: int
    length: int
    checksum: int


def checksum(data: bytes | memoryview) -> int:
    """Return XXH3 of some bytes, in 64 bits."""
    return xxhash.xxh3_64_intdigest(data)


def index_of(parts: list[tuple[int, int]]) -> bytes:
    """Return the index of chunks, of which each has a length and a checksum."""
    return b"".join(_ENTRY.pack(*part) for part in parts)


def read_header(file: BinaryIO, path: Path) -> tuple[Header, int]:
    """Return the header of a file, and its length.

    Raises:
        VerifyError: The file is damaged, was cut short, or was written by a newer version.
    """
    start = file.read(_START.size)
    if len(start) < _START.size:
        raise VerifyError(f"{path}: was cut short: it has {len(start)} bytes; expected a compressed checkpoint")
    mark, version, length = _START.unpack(start)
    if mark != MAGIC:
        raise VerifyError(f"{path}: is not a compressed checkpoint, or its first bytes are damaged")
    rest = file.read(length - len(start)) if _START.size + _CHECKSUM.size <= length <= _LONGEST else b""
    covered, end = start + rest[: -_CHECKSUM.size], rest[-_CHECKSUM.size :]
    if len(start) + len(rest) != length or _CHECKSUM.pack(checksum(covered)) != end:
        raise VerifyError(f"{path}: is damaged: its header does not match its checksum")
    if version > VERSION:
        raise VerifyError(
            f"{path}: is compressed in version {version} of the format; expected at most {VERSION}; install a newer "
            "ckpt-callbacks"
        )
    size, chunk, index_at, index_checksum, digest = _FACTS.unpack_from(covered, _START.size)
    facts = json.loads(covered[_START.size + _FACTS.size :])
    return Header(size, chunk, digest, index_at, index_checksum, facts), length


def read_index(file: BinaryIO, path: Path, header: Header, begin: int) -> list[Extent]:
    """Return the places of the chunks.

    Args:
        file: The file, of which the header has been read.
        path: Its path.
        header: Its header.
        begin: Where the first chunk begins.

    Raises:
        VerifyError: The file is damaged, or was cut short.
    """
    total, expected = os.fstat(file.fileno()).st_size, header.index_at + header.count * _ENTRY.size
    if total != expected:
        problem = "was cut short" if total < expected else "is damaged: something follows its end"
        raise VerifyError(f"{path}: {problem}: it has {total} bytes; expected {expected}")
    file.seek(header.index_at)
    data = file.read(expected - header.index_at)
    if checksum(data) != header.index_checksum:
        raise VerifyError(f"{path}: is damaged: its index does not match its checksum")
    entries = list(_ENTRY.iter_unpack(data))
    starts = accumulate((length for length, _ in entries), initial=begin)
    return [Extent(start, length, found) for start, (length, found) in zip(starts, entries, strict=False)]
