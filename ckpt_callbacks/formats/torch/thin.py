"""A ``.ckpt`` file that holds only what a full one needs to be evaluated."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...errors import StoreError, first_line
from ...policy.contents import Contents
from ..format import Written
from .check import refused
from .readable_name import readable_name
from .writer import write

# What only a run needs to continue: Lightning's own keys, and the weights that averages have replaced.
_DROPPED = {"callbacks", "current_model_state", "lr_schedulers", "optimizer_states"}


def write_weights(path: Path, thinned: Path, facts: Mapping[str, Any], contents: Contents) -> Written:
    """Write the weights, the hyperparameters and what the user's own hooks added into a new file.

    Lightning tests, validates and predicts from such a file, as from one that was saved with ``save_weights_only``.

    Args:
        path: The full checkpoint.
        thinned: The new file.
        facts: What replaces this package's data, by key.
        contents: What the new file holds.

    Raises:
        OSError: The disk is full, or broken.
        StoreError: The file holds objects that only the user's own code can read.
    """
    try:
        with readable_name(path) as name:
            found = torch.load(name, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise StoreError(
            f"it holds {refused(error)}, which only the script's own code can read; the file stays whole"
        ) from error
    except RuntimeError as error:
        raise StoreError(f"torch cannot open it: {first_line(error)}") from error
    kept = {key: value for key, value in found.items() if key not in _DROPPED} | dict(facts)
    weights = kept["state_dict"].items()
    shapes = [(name, tuple(value.shape)) for name, value in weights if isinstance(value, torch.Tensor)]
    return write(thinned, kept, shapes)
