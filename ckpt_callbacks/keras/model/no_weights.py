"""A store for Keras' walk through a model, when no weights are wanted."""

from __future__ import annotations

from keras.src.saving import saving_lib


class NoWeights(saving_lib.H5IOStore):
    """A store that holds no weights. Keras 3.12 does not accept None in its place."""

    def __init__(self) -> None:
        """Open no file."""

    def __bool__(self) -> bool:
        return False

    def has_path(self, path: str) -> bool:
        return False
