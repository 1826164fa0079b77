"""The export of a torch module, by any of the files of this package that write one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from .checkpoint import Checkpoint
from .difference import Difference
from .sample import Sample
from .torch_model import TorchModel


def write(
    checkpoint: Checkpoint, writer: str, path: Path, given: Any, inputs: Any, *, int8: bool
) -> tuple[Difference, bool]:  # fmt: skip
    """Write the module of a checkpoint as a file, load that, and compare.

    Args:
        checkpoint: The checkpoint.
        writer: The module of this package that writes the file.
        path: The file.
        given: The module, its class, or a function that returns it; None if the caller named none.
        inputs: Sample inputs; None for the module's own.
        int8: Whether to quantize the file: with ranges from ``inputs``, if they are given.

    Returns:
        By how much the outputs differ, and whether the file takes any batch size.

    Raises:
        ExportError: The module cannot be built, or has no sample inputs.
    """
    model = TorchModel.load(checkpoint, given)
    sample = model.traced(model.sample(inputs))
    return write_model(model, sample, writer, path, int8=int8, calibrated=inputs is not None)


def write_model(
    model: TorchModel, sample: Sample, writer: str, path: Path, *, int8: bool, calibrated: bool
) -> tuple[Difference, bool]:  # fmt: skip
    """Write a module as a file, load that, and compare; see `write`.

    Args:
        model: The module.
        sample: The inputs to follow.
        writer: As for `write`.
        path: The file.
        int8: Whether to quantize the file.
        calibrated: Whether the sample sets the ranges for that. Inputs outside of them are not compared.
    """
    module = importlib.import_module(f".{writer}", __package__)
    any_batch = module.write(model, sample, path)
    if int8:
        from .int8 import quantize_file

        quantize_file(path, (), [tensor.numpy() for tensor in sample.tensors] if calibrated else None)
    run, found = module.load(path), Difference()
    for trial in [sample] if int8 and calibrated else model.trials(sample):
        found.add_all(model.outputs(trial), run(trial))
    if not any_batch or not sample.batch:
        return found, False
    for trial in (sample.resized(1), sample.resized(2 * sample.batch + 1)):
        if not model.accepts(trial):
            return found, False
        try:
            outputs = run(trial)
        except Exception:  # the runtime's own errors
            return found, False
        found.add_all(model.outputs(trial), outputs)
    return found, True
