"""The export of one checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import CkptError, ExportDiffers, ExportError, first_line
from ..record import Record
from ..store.paths import expanded
from . import libraries
from .checkpoint import Checkpoint
from .difference import Difference
from .given import given_inputs, given_model
from .new_file import NewFile
from .quiet import quiet
from .result import Exported
from .target import Kind, kind_of

TOLERANCE, INT8_TOLERANCE = 1e-4, 0.05  # relative to the largest value of an output


def export(
    checkpoint: Record | str | PathLike[str],
    to: str | PathLike[str],
    *,
    model: Any = None,
    inputs: Any = None,
    int8: bool = False,
    tolerance: float | None = None,
    force: bool = False,
) -> Exported:
    """Write a checkpoint as a file that other programs load, and compare that file with it.

    The suffix of ``to`` chooses the format. After an error, ``to`` is as it was before.

    Args:
        checkpoint: The checkpoint: a record, as ``open_run(...).best()`` returns it, or a path.
        to: The file to write.
        model: The model that wrote the checkpoint, its class, or a function that returns it; as text,
            ``package.module:Class``. A given model stays as it is. Formats that hold only weights need none.
        inputs: Sample inputs: an ``.npz`` file with an array for each argument, or the arguments themselves. By
            default, the module's ``example_input_array``, or random numbers in the shapes of Keras' inputs.
        int8: Whether to quantize an ONNX model to 8 bits: with the ranges of the activations for ``inputs``, if given
            (static), and otherwise with ranges that are found at each call (dynamic).
        tolerance: The largest difference that is allowed, relative to the largest value of the same output. By default,
            1e-4, and 0.05 with ``int8``.
        force: Whether to replace a file that exists.

    Raises:
        ExportDiffers: The file differs by more than ``tolerance``.
        ExportError: The checkpoint cannot be exported.
        MissingDependency: A library is not installed.
        VerifyError: The checkpoint is damaged.
    """
    path = expanded("export: to", to)
    kind = kind_of(path)
    found = Checkpoint.find(checkpoint)
    target = NewFile(path, force=force)
    if int8 and kind.suffixes[0] != ".onnx":
        raise ExportError(f"{path}: int8 (--int8) is for .onnx; expected the name of such a file")
    libraries.require(kind.libraries)
    found.verify()
    allowed = tolerance if tolerance is not None else INT8_TOLERANCE if int8 else TOLERANCE
    with target.draft() as draft:
        temporary = {str(draft): str(path)}
        try:
            with found.native(draft.parent) as native:
                temporary = {str(native.path): str(found.path), **temporary}
                difference, any_batch = _written(native, kind, draft, model, inputs, int8=int8)
        except ExportDiffers as error:
            raise ExportDiffers(f"{path}: was not written: {error}") from error
        except ExportError as error:
            raise ExportError(_with_known_names(str(error), temporary)) from error
        except (CkptError, OSError):
            raise
        except Exception as error:  # exporters raise all kinds of errors
            why = _with_known_names(f"{type(error).__name__}: {first_line(error)}", temporary)
            raise ExportError(f"{path}: cannot be written from {found.path}: {why}") from error
        if not difference.relative <= allowed:
            raise ExportDiffers(
                f"{path}: was not written: it differs from {found.path} by {difference}; expected at most {allowed:g}"
            )
        files = target.keep(draft)
    size = sum(file.stat().st_size for file in files)
    compared = "tensors" if kind.tensors else "outputs"
    return Exported(
        path, files, size, found.path, compared, difference.absolute, difference.relative, allowed, any_batch
    )  # fmt: skip


def _with_known_names(message: str, temporary: Mapping[str, str]) -> str:
    """Return a message that names no temporary file: what a library says about one is about the user's own.

    Args:
        message: The message.
        temporary: The path by which the user knows what is in a file, by that of the file.
    """
    for path, known in temporary.items():
        message = message.replace(path, known)
    return message


def _written(
    found: Checkpoint, kind: Kind, draft: Path, model: Any, inputs: Any, *, int8: bool
) -> tuple[Difference, bool | None]:  # fmt: skip
    """Write a file, load it again, and return by how much it differs, and whether it takes any batch size."""
    given, samples = given_model(model, found), given_inputs(inputs)
    if found.framework == "keras":
        libraries.require(("keras",))
        from . import keras_export

        with quiet():
            return keras_export.write(found, kind, draft, given, samples, int8=int8, has_code=model is not None)
    if kind.module is None:
        raise ExportError(f"{draft.name}: is a file of Keras, and {found.path} one of torch; expected another format")
    libraries.require(("torch",))
    if kind.tensors:
        from . import tensor_file, torch_file

        tensors = torch_file.weights(found.path)
        tensor_file.write_torch(draft, tensors)
        return tensor_file.compare(draft, tensors, "torch"), None
    from . import torch_export

    with quiet():
        return torch_export.write(found, kind.module, draft, given, samples, int8=int8)
