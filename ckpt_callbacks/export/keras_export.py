"""The export of a Keras model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import ExportError, MissingDependency
from . import libraries
from .checkpoint import Checkpoint
from .difference import Difference
from .keras_model import KerasModel, resized
from .target import Kind

_Run = Callable[[list[np.ndarray]], list[np.ndarray]]


def write(
    checkpoint: Checkpoint, kind: Kind, path: Path, given: Any, inputs: Any, *, int8: bool, has_code: bool
) -> tuple[Difference, bool | None]:  # fmt: skip
    """Write the model of a checkpoint as a file, load that, and compare.

    Args:
        checkpoint: The checkpoint.
        kind: The kind of file.
        path: The file.
        given: The model, or a function that returns it; None to build it from the checkpoint.
        inputs: Sample inputs; None to make them up.
        int8: Whether to quantize the file: with ranges from ``inputs``, if they are given.
        has_code: Whether the user has given the model, or the module that registers its layers.

    Returns:
        By how much the file differs, and whether it takes any batch size; None if it holds only weights.

    Raises:
        ExportError: The model cannot be built or run, or this backend cannot write such a file.
        MissingDependency: A library is not installed.
    """
    backend = keras.backend.backend()
    if backend not in kind.backends:
        raise ExportError(
            f"{path.name}: Keras on {backend} cannot write it; expected KERAS_BACKEND={' or '.join(kind.backends)}, "
            "which reads the same checkpoint"
        )
    load = partial(KerasModel.load, checkpoint, given, has_code=has_code)
    model = load()
    if kind.tensors:
        return _write_tensors(model, load, path), None
    sample = model.sample(inputs)
    if backend == "torch" and kind.module is not None:
        return _write_from_torch(model, sample, kind.module, path, int8=int8, calibrated=inputs is not None)
    _WRITERS[kind.suffixes[0]](model, path)
    if int8:
        from .int8 import quantize_file

        quantize_file(path, model.names, None if inputs is None else keras.tree.flatten(sample))
    run, any_batch = _READERS[kind.suffixes[0]](model, path), _is_free(model)
    found = Difference()
    found.add_all(model.outputs(sample), run(keras.tree.flatten(sample)))
    if any_batch:
        for batch in (1, 5):
            trial = resized(sample, batch)
            found.add_all(model.outputs(trial), run(keras.tree.flatten(trial)))
    return found, any_batch


def _write_tensors(model: KerasModel, load: Callable[[], KerasModel], path: Path) -> Difference:
    expected = model.weights()
    if path.name.endswith(".safetensors"):
        from . import tensor_file

        tensor_file.write_arrays(path, expected)
        return tensor_file.compare(path, expected, "keras")
    model.model.save_weights(path)
    other, found = load(), Difference()
    other.model.set_weights([np.zeros_like(value) for value in other.model.get_weights()])
    other.model.load_weights(path)
    for (name, value), read in zip(expected.items(), other.weights().values(), strict=True):
        found.add(repr(name), value, read)
    return found


def _write_from_torch(model: KerasModel, sample: Any, writer: str, path: Path, **how: bool) -> tuple[Difference, bool]:
    import torch

    from .sample import Sample
    from .torch_export import write_model
    from .torch_model import TorchModel

    tensors = keras.tree.map_structure(torch.as_tensor, sample)
    return write_model(TorchModel(model.model), Sample((tensors,), {}, tuple(model.names)), writer, path, **how)


def _write_keras(model: KerasModel, path: Path) -> None:
    model.model.save(path)


def _write_onnx(model: KerasModel, path: Path) -> None:
    exporter = {"tensorflow": "tf2onnx", "jax": "jax2onnx"}[keras.backend.backend()]
    if not libraries.is_installed(exporter):
        raise MissingDependency(
            f"{exporter} is not installed: run `pip install {exporter}`, or export with another KERAS_BACKEND"
        )
    model.model.export(path, format="onnx", verbose=False)


def _write_litert(model: KerasModel, path: Path) -> None:
    model.model.export(path, format="litert", verbose=False)


def _load_keras(model: KerasModel, path: Path) -> _Run:
    loaded, inputs = KerasModel.load_again(path), model.inputs
    return lambda arrays: loaded.outputs(keras.tree.pack_sequence_as(inputs, arrays))


def _load_onnx(model: KerasModel, path: Path) -> _Run:
    from .onnx_runtime import OnnxModel

    return OnnxModel(path, model.names)


def _load_litert(model: KerasModel, path: Path) -> _Run:
    from . import litert_runtime

    return litert_runtime.load(path, model.names)


def _is_free(model: KerasModel) -> bool:
    """Return whether the model leaves the size of its batch open."""
    inputs = keras.tree.flatten(model.inputs) if model.inputs is not None else []
    return bool(inputs) and all(entry.shape and entry.shape[0] is None for entry in inputs)


_WRITERS = {".keras": _write_keras, ".h5": _write_keras, ".onnx": _write_onnx, ".tflite": _write_litert}
_READERS = {".keras": _load_keras, ".h5": _load_keras, ".onnx": _load_onnx, ".tflite": _load_litert}
