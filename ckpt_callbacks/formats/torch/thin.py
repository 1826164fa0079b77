"""A ``.ckpt`` file that is made smaller, and that torch and Lightning read as they read the full one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...errors import StoreError, first_line
from ...policy.contents import WHOLE_NUMBERS, Contents
from ..format import Written
from ..reduction import FROZEN, Reduction
from .averages import CURRENT, weights_of
from .check import refused
from .computed import ComputedStorages
from .equality import raw_bytes
from .format import KEY
from .quantized_state import KEY as QUANTIZED
from .quantized_state import restored
from .quantizing import Quantizing
from .readable_name import readable_name
from .rounding import Rounding
from .writer import write

# What only a run needs to continue: Lightning's own keys, and the weights that averages have replaced.
_TO_CONTINUE = {"callbacks", CURRENT, "lr_schedulers", "optimizer_states"}
_STATES = ("state_dict", CURRENT)


def reduce(path: Path, thinned: Path, record: Mapping[str, Any], contents: Contents) -> Written:
    """Write what the contents say into a new file.

    Of weights, Lightning tests, validates and predicts as from a file that was saved with ``save_weights_only``: with
    them go the hyperparameters, and what the user's own hooks added.

    Args:
        path: The checkpoint.
        thinned: The new file.
        record: The record that the new file holds.
        contents: What the new file holds.

    Raises:
        OSError: The disk is full, or broken.
        StoreError: The file holds objects that only the user's own code can read, or not what is needed, or nothing
            would be left.
    """
    found = _load(path)
    own, is_full = found.get(KEY, {}), contents.kind == "full"
    kept = {key: value for key, value in found.items() if is_full or key not in _TO_CONTINUE}
    if contents.source != record["reduced"].get("source"):
        kept["state_dict"] = weights_of(found, contents.source)
    reduction = Reduction(contents, record["reduced"], own.get(FROZEN))
    storages = ComputedStorages()
    for key in _STATES:
        if key in kept:
            kept[key] = _without_dropped(kept[key], reduction)
    if contents.dtype in WHOLE_NUMBERS:
        kept["state_dict"], kept[QUANTIZED] = Quantizing(reduction, storages).quantized(kept["state_dict"])
    else:
        present = [key for key in _STATES if key in kept]
        states = Rounding(reduction, storages).rounded(*(kept[key] for key in present))
        for key, rounded in zip(present, states, strict=True):
            kept[key].update(rounded)
    facts = reduction.facts()
    names = {key: value for key, value in own.items() if is_full or key == FROZEN}
    kept[KEY] = {**names, "record": {**record, "reduced": facts}}
    weights = kept["state_dict"].items()
    shapes = [(name, tuple(value.shape)) for name, value in weights if isinstance(value, torch.Tensor)]
    return replace(write(thinned, kept, shapes, later=storages), reduced=facts)


def _load(path: Path) -> dict[str, Any]:
    try:
        with readable_name(path) as name:
            found = torch.load(name, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise StoreError(
            f"it holds {refused(error)}, which only the script's own code can read; the file stays whole"
        ) from error
    except RuntimeError as error:
        raise StoreError(f"torch cannot open it: {first_line(error)}") from error
    if not isinstance(found, dict) or not isinstance(found.get("state_dict"), Mapping):
        raise StoreError("it holds no state_dict; the file stays whole")
    try:
        return restored(found)
    except ValueError as error:
        raise StoreError(f"{first_line(error)}; the file stays as it is") from error


def _without_dropped(state: Mapping[str, Any], reduction: Reduction) -> Any:
    """Return a copy of a state dictionary without the tensors that are left out."""
    left: Any = copy.copy(state)  # with the versions of the modules, which torch keeps as an attribute
    for name, value in state.items():
        size = value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0
        if reduction.drops(name, nbytes=size, data=partial(raw_bytes, value)):
            del left[name]
    return left
