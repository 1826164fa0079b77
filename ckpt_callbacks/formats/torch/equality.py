"""Comparison of the weights in two checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .without_code import read


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
    flat = plain.contiguous().flatten()
    return flat.as_strided(flat.shape, (1,)).view(torch.uint8)  # an only number may have any stride; NaN equals itself


def raw_bytes(tensor: torch.Tensor) -> Any:
    """Return the bytes of a tensor's numbers, as a buffer."""
    return _bytes(tensor.detach()).numpy()


def _weights(path: Path) -> dict[str, Any]:
    return dict(read(path)["state_dict"])
