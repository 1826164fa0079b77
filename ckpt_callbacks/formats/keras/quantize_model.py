"""The program that quantizes the model in a Keras file: ``python -m ckpt_callbacks.formats.keras.quantize_model``.

It is a process of its own, because to build a model draws random numbers and takes memory of a device, which would
change the training that goes on. Its output is one line of JSON: the error of each weight, or why there is none.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from ..reduction import LEVELS, Error, error_of

_UNKNOWN = re.compile(r"Could not locate (\w+ '[^']+')")
_KINDS = ("Dense", "EinsumDense", "Embedding")


def quantize(path: str, made: str, dtype: str) -> dict[str, Any]:
    """Write the quantized model of one file into another one, and return what to print.

    Args:
        path: A file that holds the model, and not only its weights.
        made: The new file.
        dtype: ``"int8"`` or ``"int4"``.
    """
    import keras

    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises all kinds of errors, for classes that it does not know among others
        own = _UNKNOWN.search(str(error))
        return {"refused": f"it needs {own.group(1)} of the script" if own else f"Keras cannot load it: {error}"}
    config = _config(keras, dtype)
    errors = {}
    for layer in _layers(keras, model):
        name, kernel, axis = _kernel(layer)
        layer.quantize(dtype, **({} if config is None else {"config": config}))
        errors[f"{layer.name}/{name}"] = _error(kernel, axis, LEVELS[dtype])
    if not errors:
        return {"refused": f"Keras quantizes only {', '.join(_KINDS)} layers of a model, and it has none"}
    model.save(made)
    keras.saving.load_model(made, compile=False)  # it must be possible without this package
    return {"errors": errors}


def _layers(keras: Any, model: Any) -> Iterator[Any]:
    """Yield the layers to quantize. Keras cannot load those inside other layers, such as attention, once they are."""
    kinds = tuple(getattr(keras.layers, kind) for kind in _KINDS)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(keras, layer)
        elif type(layer) in kinds and layer.built and layer.quantization_mode is None:
            yield layer


def _kernel(layer: Any) -> tuple[str, Any, Any]:
    """Return the name of a layer's kernel, its values, and the axes along which one scale is used."""
    import keras

    name = "embeddings" if hasattr(layer, "embeddings") else "kernel"
    axis = -1 if name == "embeddings" else tuple(getattr(layer, "_kernel_reduced_axes", (0,)))
    return name, keras.ops.convert_to_numpy(getattr(layer, name)), axis


def _error(kernel: Any, axis: Any, levels: int) -> Error:
    """Return the largest absolute error, and the same as a part of the largest absolute value."""
    import numpy as np

    kernel = kernel.astype(np.float64)
    scale = np.maximum(np.abs(kernel).max(axis=axis, keepdims=True) / levels, np.finfo(np.float32).tiny)
    worst, largest = float(np.abs(np.round(kernel / scale) * scale - kernel).max()), float(np.abs(kernel).max())
    return error_of(worst, largest)


def _config(keras: Any, dtype: str) -> Any:
    """Return a configuration for weights alone; None if this version of Keras has no such thing."""
    found = getattr(keras.quantizers, f"{dtype.capitalize()}QuantizationConfig", None)
    if found is None:
        return None
    return found(activation_quantizer=None, **({"block_size": None} if dtype == "int4" else {}))


if __name__ == "__main__":
    output, sys.stdout = sys.stdout, sys.stderr  # what Keras prints is not the result
    print(json.dumps(quantize(*sys.argv[1:])), file=output)
    output.flush()
    os._exit(0)  # without the backends' slow and sometimes noisy ends
