"""TensorFlow while it is installed but not imported, as it usually is with other backends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keras.src.saving import serialization_lib

_tensorflow: Any = serialization_lib.tf


@contextmanager
def left_unloaded() -> Iterator[None]:
    """Keep Keras from importing TensorFlow when it turns objects into JSON within this block.

    Keras imports it, which takes seconds, to ask whether an object is one of TensorFlow's. There are none before
    TensorFlow is imported. Another thread that leaves such a block ends this one too, which costs only time.
    """
    serialization_lib.tf = _Unloaded()
    try:
        yield
    finally:
        serialization_lib.tf = _tensorflow


class _Unloaded:
    """Keras' reference to TensorFlow, which counts as installed only once it is imported."""

    @property
    def available(self) -> bool:
        return "tensorflow" in sys.modules and bool(_tensorflow.available)

    def __getattr__(self, name: str) -> Any:
        return getattr(_tensorflow, name)
