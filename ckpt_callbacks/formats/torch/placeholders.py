"""Texts that stand for parts of a pickle until the pieces for these parts are put in their places."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

from .opcodes import text

_MARK = uuid.uuid4().hex  # no value of a user contains it
_ANY = re.compile(rb"X.{4}(" + _MARK.encode() + rb" \w+\.)", re.DOTALL)


def placeholder(key: int | str) -> str:
    """Return the text that stands for the part with a key."""
    return f"{_MARK} {key}."  # an end that no opcode continues


def replaced(data: bytes, pieces: Mapping[int | str, bytes]) -> bytes:
    """Return a pickle with the pieces in place of their placeholders.

    Raises:
        NotImplementedError: A placeholder does not occur exactly once.
    """
    left = {text(placeholder(key)): piece for key, piece in pieces.items()}
    joined: list[bytes] = []
    end = 0
    for found in _ANY.finditer(data):
        piece = left.pop(found[0], None)
        if piece is None:
            raise NotImplementedError("an unexpected placeholder")
        joined += data[end : found.start()], piece
        end = found.end()
    if left:
        raise NotImplementedError("a placeholder does not occur")
    return b"".join((*joined, data[end:]))
