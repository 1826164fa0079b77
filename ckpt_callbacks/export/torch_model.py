"""The model of a ``.ckpt`` file."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ExportError, first_line, listed
from ..formats.reduction import LEVELS
from ..formats.torch.format import KEY
from . import torch_file
from .checkpoint import Checkpoint
from .given import Arrays
from .left_out import LeftOut, reduced_in
from .sample import Sample, arrays_of

_UNFIT = "loading state_dict"  # in torch's message


class TorchModel:
    """A torch module in evaluation mode, on the CPU, with the weights of a checkpoint.

    Attributes:
        module: The module.
        name: The name of its class.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self.module, self.name = module.eval().requires_grad_(False), type(module).__name__

    @classmethod
    def load(cls, checkpoint: Checkpoint, given: Any) -> TorchModel:
        """Build the model of a checkpoint.

        Args:
            checkpoint: The checkpoint.
            given: The module, which is copied; its class; or a function that returns it.

        Raises:
            ExportError: The class is not given, or does not fit the checkpoint.
        """
        path = checkpoint.path
        saved = torch_file.read(path)
        if given is None:
            raise ExportError(
                f"{path}: holds the weights, but no code; expected the model's class, as in --model "
                f"{_recorded(saved) or 'package.module:' + (checkpoint.model_name or 'Class')} (in Python, model=...)"
            )
        left_out = LeftOut.of(saved.get(KEY))
        try:
            module = _copied(given) if isinstance(given, torch.nn.Module) else _built(path, saved, given)
            if isinstance(given, torch.nn.Module) or not hasattr(given, "load_from_checkpoint") or _is_quantized(saved):
                if hasattr(module, "on_load_checkpoint"):
                    module.on_load_checkpoint(saved)  # as Lightning does, which may rename weights
                module.load_state_dict(saved["state_dict"], strict=not left_out)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()]
            raise ExportError(f"{path}: does not fit the model: {' '.join(lines[:2])[:300]}") from error
        if left_out:
            _check_rest(path, module, saved, left_out)
            left_out.warn(checkpoint.known_as)
        return cls(module)

    def sample(self, arrays: Any) -> Sample:
        """Return the sample inputs: the given ones, or those of the module.

        Args:
            arrays: What was given; None for nothing.

        Raises:
            ExportError: There are none, or the module fails on them.
        """
        forward = f"{self.name}.forward{inspect.signature(self.module.forward)}"
        if isinstance(arrays, Arrays):
            sample = Sample.named(self.module, arrays)
        else:
            if arrays is None:
                arrays = getattr(self.module, "example_input_array", None)
            if arrays is None:
                raise ExportError(
                    f"{self.name} has no example_input_array; expected --inputs FILE.npz (in Python, inputs=...) with "
                    f"an array for each argument of {forward}"
                )
            sample = Sample.of(arrays)
        try:
            outputs = self.outputs(sample)
        except NotImplementedError as error:
            raise ExportError(
                f"{self.name} has no forward(); expected one, because it is what an exported file computes"
            ) from error
        except Exception as error:
            raise ExportError(f"{forward} fails with {sample.described()}: {first_line(error)}") from error
        if not outputs:
            raise ExportError(f"{forward} returns no tensors; expected some, in tuples, lists or dictionaries")
        return sample

    def outputs(self, sample: Sample) -> list[np.ndarray]:
        """Return what the model computes."""
        with torch.no_grad():
            return arrays_of(self.module(*sample.args, **sample.kwargs))

    def accepts(self, sample: Sample) -> bool:
        """Return whether the model computes anything from a sample."""
        try:
            self.outputs(sample)
        except Exception:
            return False
        return True

    def traced(self, sample: Sample) -> Sample:
        """Return a sample with a batch of more than one, if the model takes it: torch.export takes 1 for a constant."""
        larger = sample.resized(2) if sample.batch == 1 else sample
        return larger if self.accepts(larger) else sample

    def trials(self, sample: Sample) -> Iterator[Sample]:
        """Return the inputs for which an exported file must compute the same, all of the same shapes."""
        yield sample
        disturbed = sample.disturbed()
        if all(np.isfinite(output).all() for output in self.outputs(disturbed)):
            yield disturbed


def _is_quantized(saved: dict[str, Any]) -> bool:
    """Return whether the file holds whole numbers, which Lightning cannot load by itself."""
    return reduced_in(saved.get(KEY)).get("dtype") in LEVELS


def _check_rest(path: Path, module: torch.nn.Module, saved: dict[str, Any], left_out: LeftOut) -> None:
    """Make sure that a model has what its checkpoint lacks, and nothing but what was left out is lacking."""
    lacking = module.state_dict().keys() - saved["state_dict"].keys()
    wrong = sorted(name for name in lacking if not left_out.has(name))
    if wrong:
        raise ExportError(f"{path}: does not fit the model: it lacks {listed(wrong)}, which no rule has left out")


def _copied(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy on the CPU, so that the caller's own module stays as it is."""
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    try:
        return copy.deepcopy(module).cpu()
    except Exception as error:
        raise ExportError(
            f"{type(module).__name__} cannot be copied ({first_line(error)}); expected its class instead"
        ) from error


def _built(path: Path, saved: dict[str, Any], given: Any) -> torch.nn.Module:
    name = getattr(given, "__qualname__", repr(given))
    if not callable(given):
        raise ExportError(f"the model is {name}; expected a module, its class, or a function that returns it")
    is_whole = not LeftOut.of(saved.get(KEY)) and not _is_quantized(saved)
    try:
        if isinstance(given, type) and hasattr(given, "load_from_checkpoint"):
            made: Any = given.load_from_checkpoint(path, map_location="cpu", strict=is_whole, weights_only=True)
        else:
            made = given()
    except Exception as error:  # whatever the model's own code raises
        if _UNFIT in str(error):
            raise
        kept = sorted(saved.get("hyper_parameters") or ())
        raise ExportError(
            f"{name} cannot be built from {path}: {first_line(error)}; the checkpoint holds the hyperparameters "
            f"{', '.join(map(str, kept)) or '(none; see save_hyperparameters())'}"
        ) from error
    if not isinstance(made, torch.nn.Module):
        raise ExportError(f"{name} returned {type(made).__name__}; expected a torch.nn.Module")
    return made


def _recorded(saved: dict[str, Any]) -> str | None:
    """Return the name of the class that LightningCLI has written into a checkpoint. Importing it is up to the user."""
    module, _, name = str((saved.get("hyper_parameters") or {}).get("_class_path", "")).rpartition(".")
    return f"{module}:{name}" if module else None
