"""One large object on its way to a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PART = 16 << 20  # bytes; the smallest part of S3 is 5 MiB, and at most 10,000 of them make an object
MOST_PARTS = 10_000


@dataclass
class Upload:
    """A file that is sent to a store, in parts, and perhaps by several processes one after the other.

    The file is open, so that its bytes stay although somebody deletes it, or replaces it by a smaller one.

    Args:
        key: The key of the object.
        descriptor: Of the open file. It is read with `os.pread`, so that threads do not disturb each other.
        size: Its size in bytes.
        state: What `note` was given last for this object, perhaps by an earlier process; empty for none.
        note: Keeps plain JSON values that let a later process continue, durably, in a file that only the user can read:
            they may hold a secret such as the address of an upload session.
        progress: Called with the number of bytes after each part has arrived, on any thread. It may raise an exception
            to end the upload, which the store lets through; what has arrived stays there for the next attempt.
        before: Called with the number of bytes before each part is read, on the thread that sends it. It may wait, to
            limit the rate, or raise as ``progress`` does.
        part: Bytes of a part. The last one may be smaller.
        threads: How many parts are sent at a time.
        read: Called with the number of bytes after each part that was read for a checksum only. It may raise as
            ``progress`` does.
    """

    key: str
    descriptor: int
    size: int
    state: Mapping[str, Any] = field(default_factory=dict, repr=False)  # it may hold a secret
    note: Callable[[Mapping[str, Any]], object] = lambda state: None
    progress: Callable[[int], object] = lambda count: None
    before: Callable[[int], object] = lambda count: None
    part: int = PART
    threads: int = 4
    read: Callable[[int], object] = lambda count: None

    def __post_init__(self) -> None:
        self.part = max(self.part, -(-self.size // MOST_PARTS))
        keep = self.note

        def note(state: Mapping[str, Any]) -> None:
            self.state = state  # for the next attempt of this process
            keep(state)

        self.note = note

    @property
    def count(self) -> int:
        """The number of parts; an empty file has one, of no bytes."""
        return max(1, -(-self.size // self.part))

    @property
    def plan(self) -> list[int]:
        """What must be the same for parts that have arrived to count, as plain JSON values."""
        return [self.size, self.part]

    def length(self, number: int) -> int:
        """Return the number of bytes of a part, which are counted from 0."""
        return min(self.part, self.size - number * self.part)

    def bytes_of(self, number: int) -> bytes:
        """Return the bytes of a part.

        Raises:
            OSError: The file cannot be read, or has become shorter.
        """
        start, pieces, left = number * self.part, [], self.length(number)
        while left:
            piece = os.pread(self.descriptor, left, start)
            if not piece:
                raise OSError(f"{self.key}: the file has become shorter while it was sent")
            pieces.append(piece)
            start, left = start + len(piece), left - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def looked_at(self, number: int) -> bytes:
        """Return the bytes of a part that is not to be sent. Raises as `bytes_of` does."""
        data = self.bytes_of(number)
        self.read(len(data))
        return data
