"""The result of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Exported:
    """A file that was exported, and how far it is from the checkpoint.

    Attributes:
        path: The file.
        files: All files that belong to it; more than one only for an ONNX model of 2 GB or more.
        size: Their bytes.
        checkpoint: The checkpoint that it was made from.
        compared: What was compared: ``"outputs"`` of both models for the same inputs, or ``"tensors"``.
        absolute: The largest absolute difference.
        relative: The largest difference of an output or a tensor, relative to the largest value in it.
        tolerance: The relative difference that was allowed.
        any_batch: Whether the model takes any batch size; None if that is not fixed by the file.
    """

    path: Path
    files: tuple[Path, ...]
    size: int
    checkpoint: Path
    compared: str
    absolute: float
    relative: float
    tolerance: float
    any_batch: bool | None = None
