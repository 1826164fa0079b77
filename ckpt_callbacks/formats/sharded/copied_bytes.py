"""Bytes of one file, copied into another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from ...errors import VerifyError

_BLOCK = 4 << 20  # bytes that are copied together


def copy_bytes(source: Any, made: BinaryIO, length: int, progress: Callable[[int], object]) -> None:
    """Copy some bytes from one file to another one, from the positions of both on.

    Raises:
        VerifyError: The source ends before.
    """
    while length:
        data = source.read(min(length, _BLOCK))
        if not data:
            raise VerifyError(f"{source.name}: was cut short")
        made.write(data)
        progress(len(data))
        length -= len(data)
