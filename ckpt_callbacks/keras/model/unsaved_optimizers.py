"""Optimizers that Keras leaves out of its files."""

from __future__ import annotations

from typing import Any

import keras
from keras.src.saving import saving_lib

from .objects import optimizers
from .parts import as_built, storing
from .walk import WalkStore


def why_inexact(model: keras.Model) -> str | None:
    """Return why a resumed run is not exact if Keras does not save an optimizer of the model; None if it saves all."""
    held, saved = optimizers(model), set()

    def note(optimizer: Any, _: Any) -> None:
        saved.add(id(optimizer))

    with as_built(model), storing(held.values(), note):
        saving_lib._save_state(model, WalkStore(), None, "", set())
    left_out = [path for path, optimizer in held.items() if id(optimizer) not in saved]
    if not left_out:
        return None
    return (
        f"Keras {keras.__version__} does not save these optimizers, so they start anew: {', '.join(left_out)}; hold "
        "them in attributes of the model, or in lists or dicts that are not in others"
    )
