"""Quantized weights in a ``.ckpt`` file, as plain tensors that torch reads.

In place of ``layer.weight``, the ``state_dict`` holds ``layer.weight.int8``, or ``.int4``, and ``layer.weight.scale``,
so that no model takes the whole numbers for weights. The checkpoint's key ``quantized`` lists these weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..reduction import LEVELS
from .quantization import dequantized

KEY = "quantized"  # of the checkpoint
_SCALE = "scale"


@dataclass(frozen=True)
class QuantizedWeight:
    """One weight, on the disk.

    Attributes:
        numbers: Its whole numbers.
        scale: The scale of each channel.
        dtype: ``"int8"`` or ``"int4"``.
        shape: Its shape.
        original: The type that it had before.
    """

    numbers: torch.Tensor
    scale: torch.Tensor
    dtype: str
    shape: tuple[int, ...]
    original: torch.dtype

    def tensor(self) -> torch.Tensor:
        """Return its values, in the type that it had before."""
        return dequantized(self.numbers, self.scale, self.dtype, self.shape).to(self.original)


def names_of(name: str, dtype: str) -> tuple[str, str]:
    """Return the names of the numbers and of the scales in a ``state_dict``."""
    return f"{name}.{dtype}", f"{name}.{_SCALE}"


def noted(dtype: str, tensors: Mapping[str, torch.Tensor], errors: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """Return what the checkpoint holds under `KEY`.

    Args:
        dtype: ``"int8"`` or ``"int4"``.
        tensors: The weights that are quantized.
        errors: The largest error of each one, absolute and relative to its largest value.
    """
    facts = {
        name: {
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "largest_error": errors[name][0],
            "relative_error": errors[name][1],
        }
        for name, tensor in tensors.items()
    }
    return {"dtype": dtype, "weights": facts}


def read_weights(checkpoint: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a ``state_dict`` by the model's own names, with a `QuantizedWeight` for each one that is quantized.

    Args:
        checkpoint: The checkpoint.
        state: Its ``state_dict``.

    Raises:
        ValueError: What the checkpoint says about them is wrong.
    """
    noted = checkpoint.get(KEY)
    if not isinstance(noted, Mapping) or "weights" not in noted:
        return dict(state)
    dtype, found = noted.get("dtype"), dict(state)
    if dtype not in LEVELS:
        raise ValueError(f"weights of type {dtype!r}; expected {' or '.join(LEVELS)}")
    for name, facts in noted["weights"].items():
        parts = [found.pop(part, None) for part in names_of(name, dtype)]
        original = getattr(torch, facts["dtype"], None)
        if not all(isinstance(part, torch.Tensor) for part in parts) or not isinstance(original, torch.dtype):
            raise ValueError(f"{name} of type {dtype} is not complete")
        found[name] = QuantizedWeight(parts[0], parts[1], dtype, tuple(facts["shape"]), original)
    return found


def restored(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint as it was before its weights were quantized, or the checkpoint itself if they are not.

    Raises:
        ValueError: What it says about them is wrong.
    """
    if not isinstance(checkpoint, dict) or KEY not in checkpoint or "state_dict" not in checkpoint:
        return checkpoint
    state = read_weights(checkpoint, checkpoint["state_dict"])
    tied: dict[tuple[int, int], torch.Tensor] = {}
    whole: dict[str, Any] = {}
    for name, value in state.items():
        whole[name] = value
        if isinstance(value, QuantizedWeight):
            place = value.numbers.data_ptr(), value.scale.data_ptr()
            if place not in tied:
                tied[place] = value.tensor()
            whole[name] = tied[place]
    return {**{name: value for name, value in checkpoint.items() if name != KEY}, "state_dict": whole}
