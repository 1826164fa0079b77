"""Reads a checkpoint without reading its weights into memory of their own first."""

from __future__ import annotations

import copy
import os
import zipfile
from typing import Any

import torch


def can_map(path: Any) -> bool:
    """A local file in the format that `torch.load` can map into memory."""
    return isinstance(path, (str, os.PathLike)) and os.path.isfile(path) and zipfile.is_zipfile(path)


def load_mapped(path: Any, map_location: Any = lambda storage, _: storage, weights_only: bool | None = None) -> Any:
    """What `torch.load` returns for a file of Lightning's; the weights are pages of the file until somebody reads them.

    All else is copied: optimizers and callbacks keep what they are given as their own state, and the pages would hold a
    file on the disk that has long been deleted. Weights are copied into the model's own when they are loaded.

    Args:
        path: See `can_map`. map_location, weights_only: as for `torch.load`.
    """
    loaded = torch.load(os.fspath(path), map_location=map_location, mmap=True, weights_only=weights_only)
    if not isinstance(loaded, dict):
        return copy.deepcopy(loaded)
    copied = copy.deepcopy({name: value for name, value in loaded.items() if name != "state_dict"})
    return {name: copied.get(name, value) for name, value in loaded.items()}
