"""The optimizers in a checkpoint, compared with those of the model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from ..errors import ResumeError
from .state import optimizer_name

_MARK = "optimizer of the model"

Shapes = list[tuple[int, ...]]


def refuse_other_class(model: keras.Model, path: Path, saved: str) -> None:
    """Raise `ResumeError` if the model was compiled with an optimizer of another class.

    Args:
        model: The model.
        path: The checkpoint.
        saved: The class of the optimizer in it; empty if it contains none.
    """
    if saved not in ("", optimizer_name(model)):
        raise _error(path, f"was written with the optimizer {saved}; {model.name!r} has {optimizer_name(model)}")


def refuse_other_variables(
    model: keras.Model, path: Path, optimizer: keras.optimizers.Optimizer, saved: Shapes
) -> None:
    """Raise `ResumeError` if an optimizer cannot load the variables that a checkpoint has for it.

    Args:
        model: The model.
        path: The checkpoint.
        optimizer: The optimizer.
        saved: The shapes of the variables in the checkpoint.
    """
    ours = [tuple(variable.shape) for variable in optimizer.variables]
    if ours == saved:
        return
    if len(ours) != len(saved):
        what = f"{len(saved)} variables in the file, and {len(ours)} in {model.name!r}"
    else:
        place = next(place for place, (mine, other) in enumerate(zip(ours, saved, strict=True)) if mine != other)
        what = f"variable {place} with shape {saved[place]} in the file, and with shape {ours[place]} in {model.name!r}"
    raise _error(
        path,
        f"the optimizer {type(optimizer).__name__} has {what}, because its settings or the trainable layers differ",
    )


class Marked:
    """Optimizers that mark their places in a file when Keras saves the model, because only Keras knows these places.

    Args:
        optimizers: The optimizers.
    """

    def __init__(self, optimizers: Iterable[keras.optimizers.Optimizer]) -> None:
        self.optimizers = list(optimizers)

    def mark(self, optimizer: keras.optimizers.Optimizer, group: Any) -> None:
        """Mark the place of an optimizer in a file."""
        group[_MARK] = np.array(next(i for i, one in enumerate(self.optimizers) if one is optimizer))

    def places(self, file: h5py.File) -> dict[str, keras.optimizers.Optimizer]:
        """Return the optimizers, keyed by their places in a file that `mark` has marked."""
        found: dict[str, keras.optimizers.Optimizer] = {}

        def visit(place: str) -> None:
            if place.endswith(_MARK):
                found[place.removesuffix(f"vars/{_MARK}")] = self.optimizers[int(file[place][()])]

        file.visit(visit)
        return found


def saved_shapes(file: h5py.File, place: str) -> Shapes | None:
    """Return the shapes of the variables at the place of an optimizer; None if Keras did not number them."""
    group = file.get(f"{place}vars", {})
    if not all(name.isdigit() for name in group):
        return None
    return [tuple(group[name].shape) for name in sorted(group, key=int)]


def _error(path: Path, problem: str) -> ResumeError:
    return ResumeError(
        f"{path}: {problem}; expected the optimizer that wrote it; to continue with a new one, pass "
        "resume={'optimizer': False}; or, with resume=PATH, call ckpt.resume_path(only=['weights', 'step']) before "
        "fit(); otherwise compile the model as before, choose another directory, or pass resume='never'"
    )
