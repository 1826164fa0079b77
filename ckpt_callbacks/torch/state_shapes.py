"""The shapes of the tensors in a state dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import torch

from ..formats import Shapes

_shape = attrgetter("shape")


def state_shapes(state: Any) -> Shapes:
    """Return the name and shape of each value of a state dictionary that has a shape; none for anything else."""
    if not isinstance(state, Mapping):
        return []
    if set(map(type, state.values())) == {torch.Tensor}:  # by `map`, which takes half as long as a loop
        return list(zip(state, map(tuple, map(_shape, state.values())), strict=True))
    return [(name, tuple(value.shape)) for name, value in state.items() if hasattr(value, "shape")]
