"""A fast reader of the shapes in a `torch.save` file, without Python code that runs for each byte of a pickle.

torch's own reader of untrusted pickles is written in Python: with thousands of tensors, it holds the interpreter's lock
for a good part of a second, and training waits for it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..format import Shapes
from .readable_name import readable_name
from .unpickler import Placeholder, RestrictedUnpickler

_ITEM_SIZES = {  # bytes; asking torch's own classes causes warnings, which cannot be silenced in just one thread
    **dict.fromkeys(("UntypedStorage", "ByteStorage", "CharStorage", "BoolStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}
_REBUILT = {("torch._utils", f"_rebuild_tensor_v{version}") for version in (2, 3)}


@dataclass(frozen=True)
class Outline:
    """The names and shapes in a file in which each tensor has all its bytes.

    Attributes:
        named: The module and name of each class and function that its pickle names.
        shapes: The name and shape of each plain tensor of its ``state_dict``.
    """

    named: frozenset[tuple[str, str]]
    shapes: Shapes


def outline(path: Path) -> Outline:
    """Return the outline of a file. Nothing that it names is imported or called.

    Raises:
        Exception: Whatever torch or pickle raise if the file is damaged, of another kind, or not understood.
    """
    import torch  # here, because only those who have such files need it

    with readable_name(path) as name:
        reader = torch._C.PyTorchFileReader(name)
    seen = _Reader(io.BytesIO(reader.get_record("data.pkl")), reader.get_record_size)
    found = seen.load()
    tensors = found.get("state_dict", {}) if isinstance(found, dict) else {}
    shapes = [(name, value.shape) for name, value in tensors.items() if isinstance(value, _Tensor)]
    return Outline(frozenset(seen.named), shapes)


class _Reader(RestrictedUnpickler):
    """Rebuilds the shapes of tensors, and notes each class and function that the pickle names."""

    def __init__(self, file: io.BytesIO, size_of: Any) -> None:
        super().__init__(file)
        self.named: set[tuple[str, str]] = set()
        self._size_of = size_of

    def allowed(self, module: str, name: str) -> Any:
        self.named.add((module, name))
        if (module, name) in _REBUILT:
            return _tensor
        if module in ("torch", "torch.storage") and name in _ITEM_SIZES:
            return _ITEM_SIZES[name]
        return _OrderedDict if (module, name) == ("collections", "OrderedDict") else None

    def persistent_load(self, pid: tuple[Any, Any, str, Any, int]) -> int:
        """Return the number of elements of a storage, once all of its bytes are known to be in the file."""
        _, itemsize, key, _, count = pid
        if itemsize is Placeholder:
            raise NotImplementedError(f"a storage of unknown type: {key}")
        if self._size_of(f"data/{key}") != count * itemsize:
            raise ValueError(f"data/{key} does not have {count * itemsize} bytes")
        return count


class _OrderedDict(dict[Any, Any]):
    """A dictionary that may have attributes, like those that torch saves."""


class _Tensor(Placeholder):
    """A tensor of a known shape."""

    shape: tuple[int, ...] = ()


def _tensor(elements: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Tensor:
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if 0 not in shape and last >= elements:
        raise ValueError(f"a tensor of shape {shape} needs more than the {elements} elements of its storage")
    made = _Tensor()
    made.shape = tuple(shape)
    return made
