"""The checkpoint that a script names as the one to resume from."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ..errors import ResumeError
from ..formats.packed.suffix import is_split
from ..mirrors.users import note_use
from ..store.replacement import verify_now
from .view import RunView


def given_checkpoint(view: RunView, path: str | PathLike[str]) -> Path:
    """Return the path of a checkpoint, after reading every byte of it if the run directory lists it.

    Args:
        view: The checkpoints of the run directory.
        path: What the script passes as ``resume``.

    Raises:
        ResumeError: It is not a file.
        VerifyError: It is damaged.
    """
    path = Path(path)
    if not (path.is_file() or (path.is_dir() and is_split(path))):
        raise ResumeError(f"{path}: is not a file; expected resume='auto', 'never' or the path of a checkpoint")
    record = view.find(path)
    if record is not None:
        verify_now(view.manifest, record)
    else:
        note_use(path, view.manifest.layout.dirpath)
    return path
