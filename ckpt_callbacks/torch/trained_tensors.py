"""The trained weights in a checkpoint, which are searched for NaN and infinities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ..formats.finite import Numbers, all_finite
from ..formats.torch.writer import in_memory

_ON_MANY_THREADS = 1 << 15  # numbers; from here on, torch shares a tensor among its threads


def trained_tensors(names: Sequence[str], state: Mapping[str, Any]) -> list[torch.Tensor]:
    """Return the values that a state dictionary has for the parameters with gradients; they may be averages.

    Buffers and frozen parameters are left out, because masks hold infinities, and observers begin with them.

    Args:
        names: The names of these parameters.
        state: The state dictionary.
    """
    values = list(map(state.get, names))
    if set(map(type, values)) == {torch.Tensor}:
        return values
    return [value for value in values if type(value) in (torch.Tensor, torch.nn.Parameter)]


def trained_parts(module: torch.nn.Module) -> list[torch.Tensor]:
    """Return the parts that this process holds of the parameters with gradients; they may be sharded."""
    trained = [parameter.detach() for parameter in module.parameters() if parameter.requires_grad]
    return [part.to_local() if hasattr(part, "to_local") else part for part in trained]


def are_finite(tensors: Sequence[torch.Tensor]) -> bool:
    """Return False if any tensor, on any device, holds NaN or an infinity. Types of 8 bits are not searched."""
    here, elsewhere = list[torch.Tensor](), list[torch.Tensor]()
    for tensor in tensors:
        one = tensor.detach()
        plain = type(one) is torch.Tensor and one.is_cpu and one.layout is torch.strided and one.is_contiguous()
        (here if plain and one.numel() >= _ON_MANY_THREADS else elsewhere).append(one)
    storages = {storage._cdata: storage for storage in (tensor.untyped_storage() for tensor in here)}
    # The threads of torch wait for each other at each tensor, which takes many times as long when cores are busy.
    found = all_finite(numbers_of(here, {address: in_memory(one) for address, one in storages.items()}))
    return found and all(_is_finite(tensor) for tensor in elsewhere if tensor.numel())


def _is_finite(tensor: torch.Tensor) -> bool:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if not tensor.is_floating_point() or tensor.element_size() == 1:
        return True
    # NaN passes through; `isfinite` takes 20 times as long, because it makes several tensors of this size.
    return all(math.isfinite(bound) for bound in map(float, torch.aminmax(tensor)))


def numbers_of(tensors: Sequence[torch.Tensor], copies: Mapping[int, bytes | memoryview]) -> Iterator[Numbers]:
    """Yield the memory of the copies of some tensors.

    Args:
        tensors: The tensors.
        copies: The copy of each storage, by its ``_cdata``; tensors of other storages are left out.
    """
    for tensor in tensors:
        if tensor.layout is torch.strided and tensor.numel():
            copy, size = copies.get(tensor.untyped_storage()._cdata), tensor.element_size()
            begin, spans = tensor.storage_offset() * size, zip(tensor.shape, tensor.stride(), strict=True)
            length = (1 + sum((count - 1) * stride for count, stride in spans)) * size
            if copy is not None:
                yield memoryview(copy)[begin : begin + length], str(tensor.dtype).removeprefix("torch.")
