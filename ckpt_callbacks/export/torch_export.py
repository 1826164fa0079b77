"""The export of a torch module, by any of the files of this package that write one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from .checkpoint import Checkpoint
from .difference import Difference
from .torch_model import TorchModel


def write(
    checkpoint: Checkpoint, writer: str, path: Path, given: Any, inputs: Any
) -> tuple[Difference, bool]:  # fmt: skip
    """Write the module of a checkpoint as a file, load that, and compare.

    Args:
        checkpoint: The checkpoint.
        writer: The module of this package that writes the file.
        path: The file.
        given: The module, its class, or a function that returns it; None if the caller named none.
        inputs: Sample inputs; None for the module's own.

    Returns:
        By how much the outputs differ, and whether the file takes any batch size.

    Raises:
        ExportError: The module cannot be built, or has no sample inputs.
    """
    model = TorchModel.load(checkpoint.path, given, checkpoint.model_name)
    sample = model.traced(model.sample(inputs))
    return write_model(model, sample, writer, path)


def write_model(model: TorchModel, sample: Any, writer: str, path: Path) -> tuple[Difference, bool]:
    """Write a module as a file, load that, and compare; see `write`."""
    module = importlib.import_module(f".{writer}", __package__)
    any_batch = module.write(model, sample, path)
    run, found = module.load(path), Difference()
    for trial in model.trials(sample):
        found.add_all(model.outputs(trial), run(trial))
    if any_batch and sample.batch:
        for trial in (sample.resized(1), sample.resized(2 * sample.batch + 1)):
            if not model.accepts(trial):
                return found, False
            try:
                outputs = run(trial)
            except Exception:  # the runtime's own errors
                return found, False
            found.add_all(model.outputs(trial), outputs)
    return found, any_batch and bool(sample.batch)
