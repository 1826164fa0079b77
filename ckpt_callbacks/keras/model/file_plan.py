"""The plan of a model's file: all facts that stay the same as long as the model's structure does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from ...formats import Shapes
from ...formats.keras.entries import Dataset
from ...formats.keras.suffix import KERAS
from .objects import optimizers, structural
from .parts import shapes
from .walk import Walk, walk


@dataclass(frozen=True)
class FilePlan:
    """The plan of a model's file.

    Attributes:
        found: The result of Keras' walk through the model.
        entries: All datasets of the file, in order.
        sizes: Their sizes in bytes.
        tensors: The tensors that must be found in the file.
        trained: The indices of the entries that training changes.
    """

    found: Walk
    entries: Sequence[Dataset]
    sizes: Sequence[int]
    tensors: Shapes
    trained: Sequence[int]


@structural
def file_plan(model: keras.Model, suffix: str, with_optimizers: bool = False) -> FilePlan:
    """Return the plan of a model's file.

    Args:
        model: The model.
        suffix: The suffix of the file.
        with_optimizers: Whether a file of weights also holds the optimizers, as ``model.save_weights`` writes it.
    """
    full = suffix == KERAS
    skip = () if full or with_optimizers else list(optimizers(model).values())
    found = walk(model, skip=skip, assets=full)
    entries = [entry for group in found.groups for entry in group.entries]
    names = {id(variable) for variable in model.trainable_variables}
    trained = [number for number, value in enumerate(found.values) if id(value) in names]
    return FilePlan(found, entries, [entry.nbytes for entry in entries], shapes(model), trained)
