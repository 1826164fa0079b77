"""The low-rank factors of a layer's kernel. Keras adds their product to the kernel in a file, and never writes them."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

INEXACT = (
    "Keras writes LoRA factors into the kernels that they belong to; a resumed run continues from those kernels with "
    "new factors"
)
_FIRST = ("lora_kernel_a", "lora_embeddings_a")
_SECOND = ("lora_kernel_b", "lora_embeddings_b")


def has_lora(model: keras.Model) -> bool:
    """Return whether any layer has such factors."""
    return next(factors(model), None) is not None


def factors(model: keras.Model) -> Iterator[keras.Variable]:
    """Yield both factors of each pair in a model."""
    return _factors(model, *_FIRST, *_SECOND)


class FirstFactors:
    """The first factor of each pair in a model, as it was before a file was loaded.

    Keras sets both factors to zero when it loads a kernel. Then neither has a gradient, and both would stay zero.
    """

    def __init__(self, model: keras.Model) -> None:
        self._values = [(factor, np.array(keras.ops.convert_to_numpy(factor))) for factor in _factors(model, *_FIRST)]

    def put_back(self) -> None:
        """Restore the factors after a file was loaded. The second factors are zero, so no output changes."""
        for factor, value in self._values:
            factor.assign(value)


def _factors(model: keras.Model, *names: str) -> Iterator[keras.Variable]:
    for layer in model._flatten_layers():
        if getattr(layer, "lora_enabled", False):
            yield from (found for name in names if (found := getattr(layer, name, None)) is not None)
