"""Optimizers that Keras leaves out of its files."""

from __future__ import annotations

import keras
from keras.src.saving import saving_lib

from .no_weights import NoWeights
from .objects import optimizers
from .parts import as_built


def why_inexact(model: keras.Model) -> str | None:
    """Return why a resumed run is not exact if Keras does not save an optimizer of the model; None if it saves all."""
    visited: set[int] = set()
    with as_built(model):
        saving_lib._save_state(model, NoWeights(), None, "", visited)
    left_out = [path for path, optimizer in optimizers(model).items() if id(optimizer) not in visited]
    if not left_out:
        return None
    return (
        f"Keras {keras.__version__} does not save these optimizers, so they start anew: {', '.join(left_out)}; hold "
        "them in attributes of the model, or in lists or dicts that are not in others"
    )
