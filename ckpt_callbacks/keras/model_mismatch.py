"""The differences between a model and the one that wrote a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras

from ..errors import ResumeError, listed
from ..formats.keras.hdf5_part import LEGACY_WEIGHTS
from ..formats.keras.unsupported import shorten
from .model.objects import optimizers
from .model.parts import storing
from .saved_optimizers import Marked, refuse_other_variables, saved_shapes

# For each place in the model, the layer's name and the shapes of the layer's variables.
Layers = dict[str, tuple[str, list[tuple[int, ...]]]]


def refuse_other_model(model: keras.Model, path: Path, weights: Path, scratch: Path, skip: Sequence[Any] = ()) -> None:
    """Raise `ResumeError`, and name what differs, if a different model or optimizer wrote the checkpoint.

    Args:
        model: The model.
        path: The checkpoint.
        weights: The weights in it, as a ``.weights.h5`` or a legacy ``.h5``.
        scratch: A folder on disk for a temporary file.
        skip: The optimizers and layers that will not be loaded from it.
    """
    with h5py.File(weights) as file:
        if LEGACY_WEIGHTS in file:
            in_file, in_model = _legacy(file[LEGACY_WEIGHTS]), _layers(model)
            saved: list[tuple[Any, Any]] = []
        else:
            in_file, in_model, saved = _compared(model, file, scratch, skip)
    found = _differences(in_model, in_file)
    if found is not None:
        raise error_for(model, path, shorten(found))
    for optimizer, shapes in saved:
        if shapes is not None and not any(optimizer is one for one in skip):
            refuse_other_variables(model, path, optimizer, shapes)


def error_for(model: keras.Model, path: Path, problem: str) -> ResumeError:
    """Return the error for a checkpoint that cannot be loaded into a model."""
    return ResumeError(
        f"{path}: does not fit {model.name!r}: {problem}; expected the model and the optimizer that wrote it; choose "
        "another directory, or pass resume='never'"
    )


def _compared(
    model: keras.Model, file: h5py.File, scratch: Path, skip: Sequence[Any]
) -> tuple[Layers, Layers, list[tuple[Any, Any]]]:
    """Return the layers of a file and of the model, and for each optimizer, the shapes of its variables in the file."""
    own, marked = scratch / "own.weights.h5", Marked(optimizers(model).values())
    empty = [part for one in skip if isinstance(one, keras.layers.Layer) for part in one._flatten_layers()]
    with storing(marked.optimizers, marked.mark), storing(empty, lambda layer, group: None):
        keras.saving.save_weights(model, own)
    try:
        with h5py.File(own) as mine:
            places = marked.places(mine)
            in_file, in_model = (_native(h5, ("optimizer/", *places)) for h5 in (file, mine))
    finally:
        own.unlink()
    return in_file, in_model, [(one, saved_shapes(file, place)) for place, one in places.items()]


def _differences(in_model: Layers, in_file: Layers) -> str | None:
    """Return the differences in one line; None if all layers have the same shapes."""
    found = list(_compare(in_model, in_file))
    return listed(found, "; ") if found else None


def _compare(in_model: Layers, in_file: Layers) -> Iterator[str]:
    for place in [*in_model, *(place for place in in_file if place not in in_model)]:
        if place not in in_file:
            name, shapes = in_model[place]
            yield f"the model's layer {name!r} {_text(shapes)} is not in the file"
        elif place not in in_model:
            name, shapes = in_file[place]
            yield f"the file's layer {name!r} {_text(shapes)} is not in the model"
        elif in_model[place][1] != in_file[place][1]:
            name, shapes = in_model[place]
            yield f"layer {name!r} is {_text(shapes)} in the model and {_text(in_file[place][1])} in the file"


def _text(shapes: list[tuple[int, ...]]) -> str:
    return " + ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)


def _native(file: h5py.File, leave_out: tuple[str, ...]) -> Layers:
    layers: Layers = {}

    def visit(place: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group) and "name" in item.attrs and not place.startswith(leave_out):
            variables = sorted((int(n), v) for n, v in item.items() if isinstance(v, h5py.Dataset) and n.isdigit())
            if variables:
                layers[place] = (str(item.attrs["name"]), [tuple(v.shape) for _, v in variables])

    file.visititems(visit)
    return layers


def _legacy(group: h5py.Group) -> Layers:
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs["layer_names"]]
    found = [(name, [tuple(group[name][w].shape) for w in group[name].attrs["weight_names"]]) for name in names]
    return _by_place(found)


def _layers(model: keras.Model) -> Layers:
    return _by_place([(layer.name, [tuple(w.shape) for w in layer.weights]) for layer in model.layers])


def _by_place(layers: list[tuple[str, list[tuple[int, ...]]]]) -> Layers:
    # The legacy format identifies layers only by their order.
    return {str(place): layer for place, layer in enumerate(layer for layer in layers if layer[1])}
