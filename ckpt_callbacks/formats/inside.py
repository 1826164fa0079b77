"""The inside of a checkpoint file, as far as two files can be compared without building the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PIECE = 1 << 20  # values; a tensor is compared in pieces, so that the copies with full precision stay small


@dataclass(frozen=True)
class WeightOnDisk:
    """One tensor of a model, on the disk.

    Attributes:
        shape: Its shape.
        dtype: The type of its values in the file, such as ``float32``.
        pieces: Reads its values, flat and in order, as float64 or complex128, `PIECE` values at a time.
        layer: The name of its layer if its place in the file does not say that.
    """

    shape: tuple[int, ...]
    dtype: str
    pieces: Callable[[], Iterator[np.ndarray]]
    layer: str = ""


@dataclass(frozen=True)
class Inside:
    """The contents of one file.

    Attributes:
        layout: The naming of its entries, such as ``a torch file``; entries are comparable only between equal layouts.
        weights: The tensors of the model by their names.
        hyperparameters: The hyperparameters, nested.
        facts: What the framework has written about the training, such as its version.
        record: The embedded record; None if there is none.
    """

    layout: str
    weights: Mapping[str, WeightOnDisk]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] | None = None
