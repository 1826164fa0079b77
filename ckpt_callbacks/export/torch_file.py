"""The part of a ``.ckpt`` file that belongs to the model."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import ExportError, first_line
from ..formats.torch import without_code
from ..formats.torch.check import refused
from ..formats.torch.quantized_state import restored
from ..formats.torch.readable_name import readable_name


def read(path: Path) -> dict[str, Any]:
    """Return the saved dictionary, with its tensors left on the disk.

    Raises:
        ExportError: The file holds no weights, or objects of other classes than torch's.
    """
    try:
        with readable_name(path) as name:
            found = torch.load(name, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ExportError(
            f"{path}: holds {refused(error)}, which only the script's own code can read; expected tensors and plain "
            "values, as after save_hyperparameters(ignore=[...])"
        ) from error
    except RuntimeError as error:
        raise ExportError(f"{path}: torch cannot open it: {first_line(error)}") from error
    return _checked(path, found)


def weights(path: Path) -> dict[str, Any]:
    """Return the weights alone, whatever else the file holds. This runs none of the code that it names.

    Raises:
        ExportError: The file holds no weights.
    """
    try:
        found = without_code.read(path)
    except Exception as error:  # torch and zipfile raise all kinds of errors
        raise ExportError(f"{path}: torch cannot open it: {first_line(error)}") from error
    return dict(_checked(path, found)["state_dict"])


def _checked(path: Path, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or not isinstance(found.get("state_dict"), dict):
        raise ExportError(f"{path}: holds no 'state_dict'; expected a checkpoint of Lightning or of TorchSource")
    try:
        return restored(found)
    except ValueError as error:
        raise ExportError(f"{path}: {error}") from error
