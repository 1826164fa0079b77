"""The writer of compressed checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xxhash

from ...store.digest import named
from .codec import CHUNK, Encoder
from .container import Header, checksum, index_of


def compress(
    path: Path, compressed: Path, facts: Mapping[str, Any], progress: Callable[[int], object] | None = None
) -> tuple[str, int]:
    """Compress a native file into a new one. At any time, only a few chunks are in memory.

    Args:
        path: The native file.
        compressed: The new file.
        facts: What this package has embedded in the native file, which can then be read without decompressing it.
        progress: Called with the number of bytes after each chunk.

    Returns:
        The digest of the native file as in records, and its size.

    Raises:
        OSError: The disk is full, or broken.
        MissingDependency: The library is not installed.
    """
    encoder, hasher, parts, size = Encoder(), xxhash.xxh3_128(), [], 0
    with open(path, "rb", buffering=0) as source, open(compressed, "wb") as made:
        begin = len(Header(0, CHUNK, bytes(16), 0, 0, facts).to_bytes())
        made.write(bytes(begin))
        buffer = memoryview(bytearray(CHUNK))
        while count := _fill(source, buffer):
            chunk = buffer[:count]
            hasher.update(chunk)
            payload = b"".join(encoder.encode(chunk))
            made.write(payload)
            parts.append((len(payload), checksum(payload)))
            size += count
            if progress is not None:
                progress(count)
        index = index_of(parts)
        index_at = begin + sum(length for length, _ in parts)
        made.write(index)
        made.seek(0)
        made.write(Header(size, CHUNK, hasher.digest(), index_at, checksum(index), facts).to_bytes())
    return named(hasher), size


def _fill(source: Any, buffer: memoryview) -> int:
    """Read as much as fits into a buffer, and return how much that is; less only at the end of the file."""
    filled = 0
    while filled < len(buffer) and (count := source.readinto(buffer[filled:])):
        filled += count
    return filled
