"""Optimizers that Keras leaves out of its files."""

from __future__ import annotations

import keras

from .objects import optimizers
from .parts import as_built
from .walk import reached


def why_inexact(model: keras.Model) -> str | None:
    """Return why a resumed run is not exact if Keras does not save an optimizer of the model; None if it saves all."""
    held = {path: one for path, one in optimizers(model).items() if "/" in path}  # Keras finds the model's attributes
    if not held:
        return None
    with as_built(model):
        saved = reached(model)
    left_out = [path for path, optimizer in held.items() if id(optimizer) not in saved]
    if not left_out:
        return None
    return (
        f"Keras {keras.__version__} does not save these optimizers, so they start anew: {', '.join(left_out)}; hold "
        "them in attributes of the model, or in lists or dicts that are not in others"
    )
