"""The sample that is read back from a store that has no checksums."""

from __future__ import annotations

import os
from collections.abc import Callable
from secrets import randbelow  # `random` has the generator of the training script

from ..errors import MirrorDamaged
from .upload import Upload

_PIECE = 64 << 10


def compare_sample(upload: Upload, where: str, read: Callable[[int, int], bytes], pieces: int = 4) -> None:
    """Compare the beginning, the end and some other bytes of what a store has received with the file.

    Args:
        upload: The file.
        where: What the message begins with.
        read: Returns the store's bytes from a place on, as many as it is asked for.
        pieces: How many pieces of 64 KiB are compared.

    Raises:
        MirrorDamaged: The store has received other bytes.
    """
    last = max(0, upload.size - _PIECE)
    for start in sorted({0, last, *(randbelow(last + 1) for _ in range(pieces - 2))}):
        sent = os.pread(upload.descriptor, _PIECE, start)
        if sent and read(start, len(sent)) != sent:
            raise MirrorDamaged(f"{where}: holds other bytes than were sent, near byte {start}; check the disk there")
