"""The quantization of the weights of one ``.ckpt`` file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from ..reduction import Error, Reduction
from . import quantization
from .computed import ComputedStorages
from .quantized_state import names_of, noted
from .rounding import NAMES, is_plain

_Parts = tuple[torch.Tensor, torch.Tensor]


class Quantizing:
    """The weights of one file as whole numbers, computed as they are written.

    Args:
        reduction: Says which type to use, and gets the errors.
        storages: Gets what is computed.
    """

    def __init__(self, reduction: Reduction, storages: ComputedStorages) -> None:
        self._reduction, self._storages = reduction, storages
        self._dtype: str = reduction.contents.dtype or ""
        self._done: dict[tuple[Any, ...], tuple[_Parts, Error] | None] = {}  # tied weights are written once

    def quantized(self, state: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return a ``state_dict`` with quantized weights, and what the checkpoint says about them.

        Matrices and kernels are quantized, if that makes them smaller. All other weights stay as they are.
        """
        made: Any = copy.copy(state)  # with the versions of the modules, which torch keeps as an attribute
        made.clear()
        tensors: dict[str, torch.Tensor] = {}
        errors: dict[str, Error] = {}
        for name, value in state.items():
            found = self._parts(name, value) if is_plain(value) and value.dim() > 1 else None
            if found is None:
                made[name] = value
                continue
            made.update(zip(names_of(name, self._dtype), found[0], strict=True))
            tensors[name], errors[name] = value, found[1]
            self._reduction.note(name, found[1])
        return made, noted(self._dtype, tensors, errors)

    def _parts(self, name: str, tensor: torch.Tensor) -> tuple[_Parts, Error] | None:
        """Return the numbers and scales of a weight, and its error; None if it stays as it is."""
        place = (tensor.untyped_storage()._cdata, tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride())
        if place not in self._done:
            self._done[place] = self._new_parts(name, tensor)
        return self._done[place]

    def _new_parts(self, name: str, tensor: torch.Tensor) -> tuple[_Parts, Error] | None:
        dtype = self._dtype
        shape = quantization.shape_of_numbers(tuple(tensor.shape), dtype)
        size = torch.Size(shape).numel()
        if size + 4 * len(tensor) >= tensor.nbytes:
            return None
        scale = quantization.scales(tensor, dtype)
        if scale is None:
            self._reduction.note_wider(name, NAMES[tensor.dtype])
            return None
        storage = self._storages.add(size, lambda: quantization.quantized(tensor, scale, dtype).untyped_storage())
        kind = torch.int8 if dtype == "int8" else torch.uint8
        return (torch.empty(0, dtype=kind).set_(storage, 0, shape), scale), quantization.error(tensor, scale, dtype)
