"""A torch module as a file of torch.export (``.pt2``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from .sample import Sample, arrays_of
from .torch_model import TorchModel


def write(model: TorchModel, sample: Sample, path: Path) -> bool:
    """Write a module as a file.

    Args:
        model: The module.
        sample: The inputs to follow.
        path: The file.

    Returns:
        Whether the file takes any batch size.
    """
    program = exported(model, sample)
    torch.export.save(program, path)
    return takes_any_batch(program)


def load(path: Path) -> Callable[[Sample], list[np.ndarray]]:
    """Return what computes the outputs of a file."""
    module = torch.export.load(path).module()
    return lambda sample: arrays_of(module(*sample.args, **sample.kwargs))


def exported(model: TorchModel, sample: Sample) -> torch.export.ExportedProgram:
    """Return the program of a module, for any batch size if its code allows that."""
    shapes = _any_batch(model.module, sample) if (sample.batch or 0) > 1 else None
    try:
        return torch.export.export(
            model.module, sample.args, dict(sample.kwargs), dynamic_shapes=shapes, strict=False
        )  # fmt: skip
    except Exception:
        if shapes is None:
            raise
        return torch.export.export(model.module, sample.args, dict(sample.kwargs), strict=False)


def takes_any_batch(program: torch.export.ExportedProgram) -> bool:
    """Return whether the first dimension of all inputs is free."""
    inputs = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    return bool(tensors) and all(x.ndim > 0 and isinstance(x.shape[0], torch.SymInt) for x in tensors)


def _any_batch(module: torch.nn.Module, sample: Sample) -> dict[str, Any]:
    signature = inspect.signature(module.forward)
    given = dict(signature.bind(*sample.args, **sample.kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    free = {0: torch.export.Dim.AUTO}
    return pytree.tree_map(lambda x: free if isinstance(x, torch.Tensor) else None, given)
