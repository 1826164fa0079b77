"""How the layers of a model differ from those that a file holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import keras

# By place in the model: the layer's name, and the shapes of its own variables.
Layers = dict[str, tuple[str, list[tuple[int, ...]]]]
_SHOWN = 3


def differences(model: keras.Model, weights: Path, scratch: Path) -> str | None:
    """One line on what differs; None when all layers have the same shapes.

    Args:
        model: The model. weights: a ``.weights.h5`` or a legacy ``.h5``. scratch: a folder that may be written to.
    """
    with h5py.File(weights) as file:
        if "model_weights" in file:
            theirs, ours = _legacy(file["model_weights"]), _layers(model)
        else:
            own = scratch / "own.weights.h5"
            optimizers = {n: o for n, o in vars(model).items() if isinstance(o, keras.optimizers.Optimizer)}
            keras.saving.save_weights(model, own, objects_to_skip=list(optimizers.values()))
            try:
                with h5py.File(own) as mine:
                    theirs, ours = (_native(h5, leave_out={"optimizer", *optimizers}) for h5 in (file, mine))
            finally:
                own.unlink()
    found = list(_compare(ours, theirs))
    rest = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + rest if found else None


def _compare(ours: Layers, theirs: Layers) -> Iterator[str]:
    for place in [*ours, *(place for place in theirs if place not in ours)]:
        if place not in theirs:
            name, shapes = ours[place]
            yield f"the model's layer {name!r} {_text(shapes)} is not in the file"
        elif place not in ours:
            name, shapes = theirs[place]
            yield f"the file's layer {name!r} {_text(shapes)} is not in the model"
        elif ours[place][1] != theirs[place][1]:
            name, shapes = ours[place]
            yield f"layer {name!r} is {_text(shapes)} in the model and {_text(theirs[place][1])} in the file"


def _text(shapes: list[tuple[int, ...]]) -> str:
    return " + ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)


def _native(file: h5py.File, leave_out: set[str]) -> Layers:
    layers: Layers = {}

    def visit(place: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group) and "name" in item.attrs and place.partition("/")[0] not in leave_out:
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
    # The legacy format goes by order alone.
    return {str(place): layer for place, layer in enumerate(layer for layer in layers if layer[1])}
