"""Pieces that can be joined to a whole pickle of protocol 2.

Source: `pickletools` of the standard library, and `torch._utils._rebuild_tensor_v2` and ``persistent_load`` of
`torch.serialization`, which read the pickles of `torch.save`.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from typing import Any

import torch

PROTOCOL = 2
MARK, TUPLE, SET_ITEMS, BUILD = b"(", b"t", b"u", b"b"
EMPTY_DICT, EMPTY_ORDERED_DICT = b"}", b"ccollections\nOrderedDict\n)R"
_PERSISTENT, _REDUCE, _EMPTY_TUPLE, _FALSE = b"Q", b"R", b")", b"\x89"
_STORAGES = {  # the types whose tensors `torch.save` writes as `_rebuild_tensor_v2` of such a storage
    torch.float64: "DoubleStorage", torch.float32: "FloatStorage", torch.float16: "HalfStorage",
    torch.bfloat16: "BFloat16Storage", torch.int64: "LongStorage", torch.int32: "IntStorage",
    torch.int16: "ShortStorage", torch.int8: "CharStorage", torch.uint8: "ByteStorage", torch.bool: "BoolStorage",
}  # fmt: skip
_TEXTS = [b"X" + struct.pack("<I", length) for length in range(256)]  # the beginnings of short strings
_NAMES = {"rebuild": b"ctorch._utils\n_rebuild_tensor_v2\n", "hooks": b"ccollections\nOrderedDict\n"}


def storage_type(dtype: torch.dtype) -> str | None:
    """Return the name of the storage type that a pickle gives to a tensor; None for unusual tensors."""
    return _STORAGES.get(dtype)


def plain(value: Any) -> bytes:
    """Return the piece for a value without tensors and without references to itself."""
    return _piece(pickle.Pickler, value)


def only_plain(value: Any) -> bytes | None:
    """Return the piece for nested dictionaries and lists of plain values; None if they contain anything else.

    No Python code runs for the values.
    """
    try:
        return _piece(_OnlyPlain, value)
    except (NotImplementedError, ValueError):  # the latter for a container that contains itself
        return None


class _OnlyPlain(pickle.Pickler):
    """A pickler for values that pickle knows itself, and ordered dictionaries."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is OrderedDict or obj is OrderedDict:
            return NotImplemented  # as usual
        raise NotImplementedError(f"{type(obj).__name__} is not a plain value")


def _piece(kind: type[pickle.Pickler], value: Any) -> bytes:
    pickler = kind(buffer := io.BytesIO(), PROTOCOL)
    pickler.fast = True  # no memo, because its numbers would clash with those of the whole pickle
    pickler.dump(value)
    return buffer.getvalue()[2:-1]  # without the protocol and the end


def text(value: str) -> bytes:
    """Return the piece for a string."""
    data = value.encode("utf-8", "surrogatepass")
    return (_TEXTS[len(data)] if len(data) < len(_TEXTS) else b"X" + struct.pack("<I", len(data))) + data


def storage_piece(kind: str, name: str, location: str, count: int) -> bytes:
    """Return the piece for a storage.

    Args:
        kind: The name of its type.
        name: Its name in the file.
        location: Its device, as torch names it.
        count: The number of its elements.
    """
    parts = text("storage"), f"ctorch\n{kind}\n".encode(), text(name), text(location), plain(count)
    return MARK + b"".join(parts) + TUPLE + _PERSISTENT


class TensorPieces:
    """The pieces for tensors, which name their common parts once and refer to them afterwards.

    Args:
        first: The number of its first entry in the memo of the pickle. No other piece uses it or the next numbers.
    """

    def __init__(self, first: int) -> None:
        self._next = first
        self._known: dict[str, bytes] = {}
        # What comes before and after the name of the storage, for all tensors with the same facts.
        self._around: dict[tuple[Any, ...], tuple[bytes, bytes]] = {}

    def tensor(self, tensor: torch.Tensor, name: str, count: int) -> bytes:
        """Return the piece for a plain tensor.

        Args:
            tensor: The tensor.
            name: The name of its storage in the file.
            count: The number of elements of the storage.
        """
        facts = tensor.dtype, tensor.device, count, tensor.storage_offset(), tensor.shape, tensor.stride()
        around = self._around.get(facts)
        if around is None:
            first, around = self._next, self._pieces_around(tensor, count)
            if self._next == first:  # it names nothing for the first time
                self._around[facts] = around
        return around[0] + text(name) + around[1]

    def _pieces_around(self, tensor: torch.Tensor, count: int) -> tuple[bytes, bytes]:
        location = torch.serialization.location_tag(tensor.untyped_storage())
        kind = _STORAGES[tensor.dtype]
        rebuild, hooks = (self._once(key, name) for key, name in _NAMES.items())
        storage = self._once("storage", text("storage")) + self._once(kind, f"ctorch\n{kind}\n".encode())
        place = plain((tensor.storage_offset(), tuple(tensor.shape), tensor.stride()))[: -len(TUPLE)]
        return (
            rebuild + MARK + MARK + storage,
            self._once(f"at {location}", text(location)) + plain(count) + TUPLE + _PERSISTENT
            + place + _FALSE + hooks + _EMPTY_TUPLE + _REDUCE + TUPLE + _REDUCE,
        )  # fmt: skip

    def _once(self, key: str, piece: bytes) -> bytes:
        if key in self._known:
            return self._known[key]
        number = struct.pack("<I", self._next)
        self._next += 1
        self._known[key] = b"j" + number
        return piece + b"r" + number
