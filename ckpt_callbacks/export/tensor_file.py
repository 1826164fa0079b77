"""The weights of a checkpoint as a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExportError
from .difference import Difference


def write_torch(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write the tensors of a torch module. Tied ones are written once for each of their names.

    Raises:
        ExportError: One of them has a layout that the format does not know.
    """
    import torch
    from safetensors.torch import save_file

    written: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise ExportError(f"{name!r} is {type(value).__name__}, and safetensors holds tensors alone")
        if value.layout is not torch.strided or value.is_quantized:
            raise ExportError(f"{name!r} is sparse or quantized, which safetensors cannot hold; expected plain tensors")
        plain = value.detach().resolve_conj().resolve_neg().contiguous()
        storage = plain.untyped_storage().data_ptr()
        written[name] = plain.clone() if storage in seen else plain
        seen.add(storage)
    save_file(written, path, {"format": "pt"})


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the variables of a Keras model."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path)


def compare(path: Path, expected: Mapping[str, Any], framework: str) -> Difference:
    """Read a file with the library alone, and compare it tensor by tensor.

    Args:
        path: The file.
        expected: What was written to it.
        framework: The framework of the tensors.

    Raises:
        ExportError: It holds other names.
        ExportDiffers: Shapes differ.
    """
    from safetensors import safe_open

    found = Difference()
    with safe_open(path, framework="pt" if framework == "torch" else "np") as file:
        if sorted(file.keys()) != sorted(expected):
            raise ExportError(f"{path}: holds other tensors than were written")
        for name, value in expected.items():
            here = file.get_tensor(name)
            pair = [_array(value), _array(here)] if framework == "torch" else [np.asarray(value), here]
            found.add(repr(name), *pair)
    return found


def _array(tensor: Any) -> np.ndarray:
    import torch

    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    try:
        return plain.numpy()
    except TypeError:  # numpy has no bfloat16; equal bytes are equal numbers
        return plain.double().numpy() if plain.dtype.is_floating_point else plain.view(torch.uint8).numpy()
