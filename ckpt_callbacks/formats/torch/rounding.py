"""Weights of a ``.ckpt`` file in a smaller type, computed one tensor at a time, as they are written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ..reduction import Error, Reduction, error_of
from .computed import ComputedStorages

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NAMES = {dtype: name for name, dtype in DTYPES.items()} | {torch.float64: "fp64"}
_CHUNK = 1 << 22  # numbers that are looked at together


class Rounding:
    """The rounding of the weights of one file.

    Tensors that share a storage share one afterwards, too.

    Args:
        reduction: Says which types to use, and gets the errors.
        storages: Gets what is computed.
    """

    def __init__(self, reduction: Reduction, storages: ComputedStorages) -> None:
        self._reduction, self._storages = reduction, storages

    def rounded(self, *states: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the tensors of each state dictionary that get another type.

        Args:
            states: The state dictionaries, which may share tensors.
        """
        groups: dict[int, list[tuple[int, str, torch.Tensor]]] = {}
        for number, state in enumerate(states):
            for name, value in state.items():
                if is_plain(value):
                    groups.setdefault(value.untyped_storage()._cdata, []).append((number, name, value))
        found: list[dict[str, Any]] = [{} for _ in states]
        for group in groups.values():
            for number, name, tensor in self._rounded_group(group):
                found[number][name] = tensor
        yield from found

    def _rounded_group(self, group: list[tuple[int, str, torch.Tensor]]) -> Iterator[tuple[int, str, torch.Tensor]]:
        kinds = {tensor.dtype for _, _, tensor in group}
        kind = next(iter(kinds))
        types = self._reduction.types_for(kind.itemsize)
        if not types or len(kinds) > 1:  # views of several types of the same bytes
            return
        tensors = {name: tensor for _, name, tensor in group}
        for chosen in types:
            errors = {name: _error(tensor, DTYPES[chosen]) for name, tensor in tensors.items()}
            if all(error is not None for error in errors.values()):
                break
        else:
            chosen, errors = "", {}
        if chosen != types[0]:
            for name in tensors:
                self._reduction.note_wider(name, chosen or NAMES[kind])
        for name, error in errors.items():
            if error is not None:
                self._reduction.note(name, error)
        if chosen:
            storage = self._placeholder(group[0][2], DTYPES[chosen])
            for number, name, tensor in group:
                yield number, name, _view(tensor, storage, DTYPES[chosen])

    def _placeholder(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.UntypedStorage:
        """Return the storage in place of that of a tensor. Nothing is in it, so it takes no memory."""
        source = tensor.untyped_storage()
        count = source.nbytes() // tensor.element_size()

        def compute() -> torch.UntypedStorage:
            numbers = torch.empty(0, dtype=tensor.dtype).set_(source, 0, (count,))
            return numbers.to(dtype).untyped_storage()

        return self._storages.add(count * dtype.itemsize, compute)


def is_plain(value: Any) -> bool:
    """Return whether a weight is a tensor of floats that can be given another type."""
    return (
        type(value) in (torch.Tensor, torch.nn.Parameter)
        and value.dtype in NAMES
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and value.numel() > 0
    )


def _view(tensor: torch.Tensor, storage: torch.UntypedStorage, dtype: torch.dtype) -> torch.Tensor:
    """Return the same view of another storage."""
    view = torch.empty(0, dtype=dtype).set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
    return torch.nn.Parameter(view, tensor.requires_grad) if type(tensor) is torch.nn.Parameter else view


def _error(tensor: torch.Tensor, dtype: torch.dtype) -> Error | None:
    """Return the error of a rounded tensor; None if finite values would become infinite."""
    numbers, largest, error = tensor.detach().reshape(-1), 0.0, 0.0
    for chunk in numbers.split(_CHUNK):
        finite = chunk.isfinite()
        chunk = chunk if bool(finite.all()) else chunk.where(finite, 0)
        off = float((chunk.to(dtype).to(chunk.dtype) - chunk).abs().max())
        if not math.isfinite(off):
            return None
        largest, error = max(largest, float(chunk.abs().max())), max(error, off)
    return error_of(error, largest)
