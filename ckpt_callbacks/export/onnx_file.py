"""A torch module as an ONNX file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils import _pytree as pytree

from .onnx_runtime import OnnxModel
from .program_file import exported, takes_any_batch
from .sample import Sample
from .torch_model import TorchModel

# Protobuf allows 2 GiB in one file. From here on, the weights go into a second file beside it.
INLINE = (1 << 31) - (1 << 27)


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
    names = list(sample.names) or _names(model.module, sample)
    outputs = len(model.outputs(sample))
    written = torch.onnx.export(
        program,
        input_names=names,
        output_names=["output"] if outputs == 1 else [f"output_{n}" for n in range(outputs)],
        verbose=False,
    )
    if any_batch := takes_any_batch(program):
        free = {size for entry in written.model.graph.inputs for size in entry.shape[:1] if not isinstance(size, int)}
        written.rename_axes(dict.fromkeys(free, "batch"))
    size = sum(tensor.nbytes for tensor in {**model.module.state_dict()}.values() if isinstance(tensor, torch.Tensor))
    written.save(str(path), external_data=size > INLINE)
    return any_batch


def load(path: Path) -> Callable[[Sample], list[np.ndarray]]:
    """Return what computes the outputs of a file."""
    run = OnnxModel(path)
    return lambda sample: run([tensor.numpy() for tensor in sample.tensors])


def _names(module: torch.nn.Module, sample: Sample) -> list[str]:
    """Return a name for each tensor: that of the argument, and, within a container, that of its place."""
    given = inspect.signature(module.forward).bind(*sample.args, **sample.kwargs).arguments
    found = pytree.tree_flatten_with_path(dict(given))[0]
    parts = [("_".join(_part(key) for key in path), leaf) for path, leaf in found]
    return [name for name, leaf in parts if isinstance(leaf, torch.Tensor)]


def _part(key: object) -> str:
    return str(next(getattr(key, name) for name in ("key", "idx", "name") if hasattr(key, name)))
