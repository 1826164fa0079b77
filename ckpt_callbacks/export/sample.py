"""Sample inputs of a torch module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ..errors import ExportError


@dataclass(frozen=True)
class Sample:
    """The arguments of one call of ``forward``.

    Attributes:
        args: The positional ones: tensors, and containers of tensors.
        kwargs: The named ones.
        names: The names of the tensors, in order; empty to take those of the arguments.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Any) -> Sample:
        """Return the sample that a value means, as Lightning reads ``example_input_array``.

        Args:
            given: A tensor, a tuple of arguments, or a dictionary of named ones.
        """
        if isinstance(given, dict):
            return cls((), given).mapped(torch.as_tensor)
        return cls(given if isinstance(given, tuple) else (given,), {}).mapped(torch.as_tensor)

    @classmethod
    def named(cls, module: torch.nn.Module, arrays: Mapping[str, np.ndarray]) -> Sample:
        """Return the sample with the arrays of a file, whose names are those of the arguments of ``forward``.

        Raises:
            ExportError: The names are others, or arguments are missing.
        """
        signature = inspect.signature(module.forward)
        tensors = {name: torch.as_tensor(value) for name, value in arrays.items()}
        try:
            if all(name == f"arr_{number}" for number, name in enumerate(tensors)):  # savez without names
                bound = signature.bind(*tensors.values())
            else:
                bound = signature.bind(**tensors)
        except TypeError as error:
            raise ExportError(
                f"the inputs are {', '.join(tensors) or 'empty'}; expected an array for each argument of "
                f"{type(module).__name__}.forward{signature}: {error}"
            ) from error
        kind = next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), torch.get_default_dtype())
        return cls(bound.args, bound.kwargs).mapped(lambda x: x.to(kind) if x.dtype is torch.float64 else x)

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors, in the order in which an exported file takes them."""
        return tensors_of((self.args, dict(self.kwargs)))

    @property
    def batch(self) -> int | None:
        """The size of the first dimension, if all tensors share it."""
        sizes = {tensor.shape[0] if tensor.ndim else None for tensor in self.tensors}
        return sizes.pop() if len(sizes) == 1 else None

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Sample:
        """Return the sample with a function applied to all of its arrays."""
        args, kwargs = pytree.tree_map(
            lambda x: change(x) if isinstance(x, torch.Tensor | np.ndarray) else x, (self.args, dict(self.kwargs))
        )
        return replace(self, args=args, kwargs=kwargs)

    def resized(self, batch: int) -> Sample:
        """Return the sample with another size of its batch, made of its own rows."""
        return self.mapped(lambda x: x[torch.arange(batch) % x.shape[0]])

    def disturbed(self) -> Sample:
        """Return the sample with fixed random numbers added, because the given one may hold nothing but zeros."""
        generator = torch.Generator().manual_seed(0)

        def disturb(x: torch.Tensor) -> torch.Tensor:
            if not x.dtype.is_floating_point:
                return x
            spread = float(x.double().std()) if x.numel() > 1 else 0.0
            return x + (torch.randn(x.shape, generator=generator) * (spread or 1.0)).to(x.dtype)

        return self.mapped(disturb)

    def described(self) -> str:
        """Return the shapes and types of the tensors, for messages."""
        return ", ".join(f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}" for x in self.tensors)


def tensors_of(structure: Any) -> list[torch.Tensor]:
    """Return the tensors in nested containers, in order."""
    return [leaf for leaf in pytree.tree_leaves(structure) if isinstance(leaf, torch.Tensor)]


def arrays_of(structure: Any) -> list[np.ndarray]:
    """Return the tensors in nested containers as arrays; bfloat16, which numpy lacks, as float32."""
    tensors = [tensor.detach().cpu() for tensor in tensors_of(structure)]
    return [(tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy() for tensor in tensors]
