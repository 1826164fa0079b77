"""A model whose saves go elsewhere, for code of Keras that saves it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Any

import keras

Write = Callable[[keras.Model, str, Callable[[str], Any]], None]


class RedirectedModel:
    """A stand-in for a model that passes on everything except saves.

    Args:
        model: The model.
        write: Called for each save with the model, the path, and a function that has Keras save the model to a path.
    """

    def __init__(self, model: keras.Model, write: Write) -> None:
        self._redirected, self._write = model, write

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # for `isinstance`
        return type(self._redirected)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redirected, name)

    def save(self, filepath: str | PathLike[str], **how: Any) -> None:
        self._write(self._redirected, str(filepath), partial(self._redirected.save, **how))

    def save_weights(self, filepath: str | PathLike[str], **how: Any) -> None:
        self._write(self._redirected, str(filepath), partial(self._redirected.save_weights, **how))
