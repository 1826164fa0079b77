"""Comparison of the weights in two checkpoints."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from .readable_name import readable_name
from .unpickler import RestrictedUnpickler

_OF_TORCH = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)  # what a tensor is described with


def same_weights(a: Path, b: Path) -> bool:
    """Return True if two checkpoints hold equal weights, even if other contents differ."""
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
    with readable_name(path) as name:
        try:
            found = torch.load(name, weights_only=True, **settings)
        except pickle.UnpicklingError:  # the file also holds objects of other classes
            found = torch.load(name, weights_only=False, pickle_module=_TensorsAlone, **settings)
    return dict(found["state_dict"])


class _Unpickler(RestrictedUnpickler):
    """Rebuilds tensors, and nothing else."""

    def allowed(self, module: str, name: str) -> Any:
        known = (module, name) == ("collections", "OrderedDict")
        if known or (module == "torch._utils" and name.startswith("_rebuild_")):
            return pickle.Unpickler.find_class(self, module, name)
        found = getattr(torch, name, None) if module == "torch" else None
        return found if isinstance(found, _OF_TORCH) or found in (torch.Size, torch.device) else None


class _TensorsAlone:
    """The parts of the `pickle` module that torch uses to read pickles."""

    Unpickler, load, UnpicklingError = _Unpickler, pickle.load, pickle.UnpicklingError
