"""The header of a safetensors file. The numbers of its tensors follow, without gaps.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from .stored_tensors import StoredTensor

_LENGTH = struct.Struct("<Q")
_ALIGN = 8
_NOTES, _FORMAT = "__metadata__", {"format": "pt"}  # readers of Hugging Face want to know the framework


def header(tensors: Sequence[StoredTensor], notes: Mapping[str, str]) -> bytes:
    """Return the bytes before the numbers.

    Args:
        tensors: The tensors, in the order in which their numbers follow.
        notes: Further texts by their names.
    """
    begin = 0
    found: dict[str, Any] = {_NOTES: {**_FORMAT, **notes}}
    for tensor in tensors:
        found[tensor.name] = _described(tensor, begin, begin + tensor.nbytes)
        begin += tensor.nbytes
    text = _text(found)
    text += b" " * (-len(text) % _ALIGN)
    return _LENGTH.pack(len(text)) + text


def header_size() -> int:
    """Return the most bytes of a header without tensors."""
    return len(header((), {})) + _ALIGN


def entry_size(tensor: StoredTensor, end: int, notes: Mapping[str, str]) -> int:
    """Return the most bytes that a tensor adds to a header.

    Args:
        tensor: The tensor.
        end: The largest offset that it can have.
        notes: The texts that stand there because of it.
    """
    added = _text({tensor.name: _described(tensor, end, end)})
    return len(added) + sum(len(_text({name: text})) for name, text in notes.items())


def _described(tensor: StoredTensor, begin: int, end: int) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}


def _text(found: Mapping[str, Any]) -> bytes:
    return json.dumps(found, separators=(",", ":")).encode()
