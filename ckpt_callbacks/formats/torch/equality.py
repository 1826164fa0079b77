"""Whether two checkpoints hold equal weights."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

_OF_TORCH = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)  # what stands in a tensor's description


def same_weights(a: Path, b: Path) -> bool:
    """The two checkpoints hold equal weights, whatever else differs."""
    if a.is_dir() or b.is_dir():
        return False
    first, second = map(_weights, (a, b))
    return first.keys() == second.keys() and all(_equal(first[name], second[name]) for name in first)


def _equal(a: Any, b: Any) -> bool:
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)):
        return bool(a == b)
    if (a.dtype, a.shape, a.layout) != (b.dtype, b.shape, b.layout):
        return False
    if a.is_quantized:  # torch crashes when the bytes of one are compared
        return b.is_quantized and all(f(a).equal(f(b)) for f in (torch.int_repr, torch.dequantize))
    if a.layout is torch.sparse_coo:
        a, b = a.coalesce(), b.coalesce()
        return _equal(a.indices(), b.indices()) and _equal(a.values(), b.values())
    return bool(_bytes(a).equal(_bytes(b)))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    plain = tensor.to_dense() if tensor.layout is not torch.strided else tensor.resolve_conj().resolve_neg()
    return plain.contiguous().flatten().view(torch.uint8)  # NaN equals itself


def _weights(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {"map_location": "cpu", "mmap": True}
    try:
        found = torch.load(path, weights_only=True, **settings)
    except pickle.UnpicklingError:  # beside the weights there are objects of other classes
        found = torch.load(path, weights_only=False, pickle_module=_TensorsAlone, **settings)
    return dict(found["state_dict"])


class _Part:
    """An object of some class, and all that is done to it; it is equal to nothing."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Whatever it is made of."""

    def __setstate__(self, state: Any) -> None:
        """Whatever it holds."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Whatever it maps."""

    def append(self, value: Any) -> None:
        """Whatever it lists."""

    add = append


class _Unpickler(pickle.Unpickler):
    """Makes tensors, and puts something harmless in the place of whatever else a pickle names."""

    def find_class(self, module: str, name: str) -> Any:
        known = (module, name) == ("collections", "OrderedDict")
        if known or (module == "torch._utils" and name.startswith("_rebuild_")):
            return super().find_class(module, name)
        found = getattr(torch, name, None) if module == "torch" else None
        return found if isinstance(found, _OF_TORCH) or found in (torch.Size, torch.device) else _Part


class _TensorsAlone:
    """As torch wants a module that reads pickles."""

    Unpickler, load, UnpicklingError = _Unpickler, pickle.load, pickle.UnpicklingError
