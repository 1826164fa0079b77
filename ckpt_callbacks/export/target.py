"""The kinds of files that a checkpoint can be exported as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ExportError


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        suffixes: The suffixes of such files, the usual one first.
        module: The module of this package that writes it from a torch module; None if there is none.
        libraries: The libraries that this needs besides the framework.
        tensors: Whether the file holds tensors alone, and no model.
        backends: Keras' backends that can write it.
    """

    suffixes: tuple[str, ...]
    module: str | None = None
    libraries: tuple[str, ...] = ()
    tensors: bool = False
    backends: tuple[str, ...] = ()


_ALL = ("tensorflow", "torch", "jax")
KINDS = (
    Kind((".safetensors",), "tensor_file", ("safetensors",), tensors=True, backends=_ALL),
    Kind((".onnx",), "onnx_file", ("onnx", "onnxscript", "onnxruntime"), backends=_ALL),
    Kind((".pt2",), "program_file", backends=("torch",)),
    Kind((".torchscript", ".ts"), "script_file", backends=("torch",)),
    Kind((".keras",), backends=_ALL),
    Kind((".h5",), libraries=("h5py",), backends=_ALL),
    Kind((".weights.h5",), libraries=("h5py",), tensors=True, backends=_ALL),
    Kind((".tflite",), libraries=("ai_edge_litert",), backends=("tensorflow",)),
)


def kind_of(path: Path) -> Kind:
    """Return the kind of file that a path's suffix means.

    Raises:
        ExportError: It means none.
    """
    found = [(suffix, kind) for kind in KINDS for suffix in kind.suffixes if path.name.lower().endswith(suffix)]
    if not found:
        known = ", ".join(kind.suffixes[0] for kind in KINDS)
        raise ExportError(f"{path}: which format? expected a file whose name ends in one of {known}")
    return max(found, key=lambda item: len(item[0]))[1]
