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
        module: The module of this package that writes and reads them.
        libraries: The libraries that this needs besides the framework.
        tensors: Whether the file holds tensors alone, and no model.
        frameworks: The frameworks whose checkpoints can be exported so.
    """

    suffixes: tuple[str, ...]
    module: str
    libraries: tuple[str, ...] = ()
    tensors: bool = False
    frameworks: tuple[str, ...] = ("torch", "keras")


KINDS = (
    Kind((".safetensors",), "tensor_file", ("safetensors",), tensors=True, frameworks=("torch",)),
    Kind((".onnx",), "onnx_file", ("onnx", "onnxscript", "onnxruntime"), frameworks=("torch",)),
    Kind((".pt2",), "program_file", frameworks=("torch",)),
    Kind((".torchscript", ".ts"), "script_file", frameworks=("torch",)),
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
