"""The export of one checkpoint."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ..errors import CkptError, ExportDiffers, ExportError, first_line
from ..record import Record
from ..store.paths import expanded
from . import libraries
from .checkpoint import Checkpoint
from .difference import Difference
from .new_file import NewFile
from .quiet import quiet
from .result import Exported
from .target import kind_of

TOLERANCE = 1e-4  # relative to the largest value of an output


def export(
    checkpoint: Record | str | PathLike[str],
    to: str | PathLike[str],
    *,
    tolerance: float | None = None,
    force: bool = False,
) -> Exported:
    """Write a checkpoint as a file that other programs load, and compare that file with it.

    The suffix of ``to`` chooses the format. After an error, ``to`` is as it was before.

    Args:
        checkpoint: The checkpoint: a record, as ``open_run(...).best()`` returns it, or a path.
        to: The file to write.
        tolerance: The largest difference that is allowed, relative to the largest value of the same output. By default,
            1e-4.
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
    place = NewFile(path, force=force)
    libraries.require(kind.libraries)
    if found.framework not in kind.frameworks:
        raise ExportError(f"{path}: a checkpoint of {found.framework} cannot be exported as {kind.suffixes[0]}")
    found.verify()
    allowed = TOLERANCE if tolerance is None else tolerance
    with place.draft() as draft:
        try:
            with quiet():
                difference = _write_tensors(found, draft)
        except (CkptError, OSError):
            raise
        except Exception as error:  # exporters raise all kinds of errors
            raise ExportError(f"{path}: {type(error).__name__}: {first_line(error)}") from error
        if not difference.relative <= allowed:
            raise ExportDiffers(
                f"{path}: was not written: it differs from {found.path} by {difference}; expected at most {allowed:g}"
            )
        files = place.keep(draft)
    return Exported(
        path, files, sum(file.stat().st_size for file in files), found.path, "tensors", difference.absolute,
        difference.relative, allowed,
    )  # fmt: skip


def _write_tensors(found: Checkpoint, draft: Path) -> Difference:
    from . import tensor_file, torch_file

    tensors = torch_file.read(found.path)["state_dict"]
    tensor_file.write_torch(draft, tensors)
    return tensor_file.compare(draft, tensors, "torch")
