"""The checkpoint that a script names as the one to resume from."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ..errors import ResumeError
from ..policy.contents_order import held
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
    if not path.is_file():
        raise ResumeError(f"{path}: is not a file; expected resume='auto', 'never' or the path of a checkpoint")
    record = view.find(path)
    if record is not None:
        verify_now(view.manifest, record)
    return path


def only_weights(view: RunView, path: str | PathLike[str]) -> ResumeError:
    """Return the error about a checkpoint without the state that a run needs to continue.

    Args:
        view: The checkpoints of the run directory.
        path: The checkpoint, which may be one of another directory.
    """
    record = view.find(Path(path))
    whole = next((one for one in view.resumable() if one != record), None)
    found, example = "weights" if record is None else held(record), "" if whole is None else f", such as {whole.path}"
    return ResumeError(
        f"{path}: holds only {found}, so a run cannot be resumed from it; expected a checkpoint with contents='full'"
        f"{example}, or load its weights into the model and pass resume='never' and no path"
    )
