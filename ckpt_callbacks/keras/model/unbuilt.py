"""Layers without variables, because nothing has called them yet: for example, those that only a validation calls."""

from __future__ import annotations

from collections.abc import Collection

import keras

from .objects import objects, structural


@structural
def unbuilt_layers(model: keras.Model) -> list[str]:
    """Return the layers that have no variables yet, by the attribute names that lead to them."""
    return [path for path, one in objects(model) if isinstance(one, keras.layers.Layer) and _is_empty(one)]


def built_since(model: keras.Model, unbuilt: Collection[str]) -> list[keras.layers.Layer]:
    """Return the layers that have variables now.

    Args:
        model: The model.
        unbuilt: The layers that had none when a checkpoint was taken, which thus has nothing to load into them.
    """
    named = [one for path, one in objects(model) if path in unbuilt] if unbuilt else []
    return [one for one in named if isinstance(one, keras.layers.Layer) and one.weights]


def _is_empty(layer: keras.layers.Layer) -> bool:
    return not layer.built and not layer.weights
