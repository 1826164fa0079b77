"""A torch module as a TorchScript file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from .sample import Sample, arrays_of
from .torch_model import TorchModel


def write(model: TorchModel, sample: Sample, path: Path) -> bool:
    """Write a module, as it was traced with a sample.

    Returns:
        True: whether the file takes other batch sizes shows when it is run.
    """
    for part in model.module.modules():
        if hasattr(part, "_jit_is_scripting"):
            part._jit_is_scripting = True  # Lightning's own, without which `trainer` raises while it is traced
    given = {"example_kwarg_inputs": dict(sample.kwargs)} if sample.kwargs else {"example_inputs": sample.args}
    torch.jit.trace(model.module, check_trace=False, strict=False, **given).save(path)
    return True


def load(path: Path) -> Callable[[Sample], list[np.ndarray]]:
    """Return what computes the outputs of a file."""
    module = torch.jit.load(path)

    def run(sample: Sample) -> list[np.ndarray]:
        with torch.no_grad():
            return arrays_of(module(*sample.args, **sample.kwargs))

    return run
