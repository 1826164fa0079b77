"""The tensors of a ``.ckpt`` file's ``state_dict`` by their places in the file. Nothing that it names is imported."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import StoreError
from ..zip_member import data_start
from .unpickler import Placeholder, RestrictedUnpickler

# The names that safetensors has for types, by those of the storages with one type, and by torch's own.
_OF_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL", "ComplexFloatStorage": "C64",
}  # fmt: skip
_OF_TORCH = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64",
}  # fmt: skip
_SIZES = {"BOOL": 1, "C64": 8, "BF16": 2}  # bytes of those whose name does not end with the number of bits
_DATA = "/data.pkl"


@dataclass(frozen=True)
class StoredTensor:
    """One tensor.

    Attributes:
        name: Its name.
        dtype: Its type, as safetensors calls it.
        shape: Its shape.
        strides: The distances of its numbers, in numbers.
        storage: The name of its storage.
        start: Where its first number begins in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    storage: str
    start: int

    @property
    def item(self) -> int:
        """Bytes of one of its numbers."""
        return item_size(self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of all of its numbers."""
        return math.prod(self.shape) * self.item

    @property
    def order(self) -> tuple[int, ...] | None:
        """The order in which its axes are stored, the slowest first; None if other bytes lie between its numbers."""
        order = sorted(range(len(self.shape)), key=lambda axis: (self.strides[axis], self.shape[axis]), reverse=True)
        dense = 1
        for axis in reversed(order):
            if self.shape[axis] != 1 and self.strides[axis] != dense:
                return None
            dense *= self.shape[axis]
        # Where an axis of length 1 stands does not matter.
        long = [axis for axis in order if self.shape[axis] != 1]
        return tuple(range(len(self.shape))) if long == sorted(long) else tuple(order)

    @property
    def is_contiguous(self) -> bool:
        """Whether its numbers are stored as safetensors stores them."""
        return self.order == tuple(range(len(self.shape)))


def item_size(dtype: str) -> int:
    """Return the bytes of a number of a type of safetensors."""
    return _SIZES.get(dtype) or int(dtype.partition("_")[0].lstrip("FIU")) // 8


def stored_tensors(path: Path) -> list[StoredTensor]:
    """Return the tensors, in the order of the ``state_dict``.

    Raises:
        OSError: The file cannot be read.
        StoreError: It is of another kind, holds no tensors, or one that safetensors cannot hold.
        Exception: Whatever zipfile and pickle raise for a damaged file.
    """
    if not zipfile.is_zipfile(path):
        raise StoreError("torch has not written it; it stays one file")
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        data = next((name for name in members if name.endswith(_DATA)), None)
        if data is None:
            raise StoreError("torch has not written it; it stays one file")
        folder = data.removesuffix(_DATA)
        order = f"{folder}/byteorder"
        if order in members and archive.read(order) != b"little":
            raise StoreError("its numbers are stored with their highest byte first; it stays one file")
        found = _Reader(io.BytesIO(archive.read(data))).load()
    state = found.get("state_dict") if isinstance(found, dict) else None
    if not isinstance(state, Mapping):
        raise StoreError("it holds no state_dict; it stays one file")
    starts: dict[str, int] = {}
    tensors = []
    for name, value in state.items():
        if isinstance(value, _Unknown):
            raise StoreError(f"{name} is of a kind that safetensors cannot hold; it stays one file")
        if isinstance(value, _Tensor):
            member = members[f"{folder}/data/{value.storage.key}"]
            if member.compress_type != zipfile.ZIP_STORED:
                raise StoreError("its tensors are compressed; it stays one file")
            if member.filename not in starts:
                starts[member.filename] = data_start(path, member)
            tensors.append(_placed(str(name), value, starts[member.filename], member.file_size))
    if not tensors:
        raise StoreError("it holds no tensors; it stays one file")
    return tensors


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str


class _Tensor(Placeholder):
    """A tensor whose numbers lie in a storage as they are."""

    def __init__(self, storage: _Storage, offset: int, shape: Any, strides: Any, dtype: str) -> None:
        self.storage, self.offset, self.dtype = storage, offset, dtype
        self.shape, self.strides = tuple(shape), tuple(strides)


class _Unknown(Placeholder):
    """A tensor of another kind, such as a sparse one."""


def _placed(name: str, tensor: _Tensor, start: int, size: int) -> StoredTensor:
    item = item_size(tensor.dtype)
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if 0 not in tensor.shape and (last + 1) * item > size:
        raise ValueError(f"{name} needs more than the {size} bytes of its storage")
    place = start + tensor.offset * item
    return StoredTensor(name, tensor.dtype, tensor.shape, tensor.strides, tensor.storage.key, place)


def _typed(storage: Any, offset: int, shape: Any, strides: Any, gradient: Any, hooks: Any, bits: Any = None) -> Any:
    if not isinstance(storage, _Storage) or not storage.dtype or bits:  # such as a conjugate view
        return _Unknown()
    return _Tensor(storage, offset, shape, strides, storage.dtype)


def _untyped(
    storage: Any, offset: int, shape: Any, strides: Any, gradient: Any, hooks: Any, dtype: Any, bits: Any = None
) -> Any:  # fmt: skip
    if not isinstance(storage, _Storage) or not isinstance(dtype, str) or bits:
        return _Unknown()
    return _Tensor(storage, offset, shape, strides, dtype)


def _parameter(data: Any, *_: Any) -> Any:
    return data


_REBUILT = {"_rebuild_tensor_v2": _typed, "_rebuild_tensor_v3": _untyped, "_rebuild_parameter": _parameter}


class _OrderedDict(dict[Any, Any]):
    """A dictionary that may have attributes, like those that torch saves."""


class _Reader(RestrictedUnpickler):
    """Rebuilds the places of tensors."""

    def allowed(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _OrderedDict
        if module == "torch._utils" and name in _REBUILT:
            return _REBUILT[name]
        if module.startswith("torch") and name.startswith("_rebuild"):
            return _Unknown
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return _OF_STORAGES.get(name, "")
        return _OF_TORCH.get(name) if module == "torch" else None

    def persistent_load(self, pid: tuple[Any, Any, str, Any, int]) -> _Storage:
        _, dtype, key, *_ = pid
        return _Storage(key, dtype if isinstance(dtype, str) else "")
