"""The check that a ``.ckpt`` file opens and holds its tensors."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from ...errors import CkptError, VerifyError, first_line
from ..format import Shapes, missing
from .readable_name import readable_name
from .tensor_shapes import Outline, outline

_Names = frozenset[tuple[str, str]]
_opened: set[tuple[str, str]] = set()  # the classes in files that torch itself has opened in this process
_refused: dict[_Names, str] = {}  # the classes in files that torch refused to load, and why
_checks: Counter[_Names] = Counter()
_NAMED = re.compile(r"GLOBAL (\S+)")


def check(path: Path, wanted: Shapes) -> None:
    """Open a file as torch does, and look for tensors in it.

    Args:
        path: The file.
        wanted: The tensors that it must hold.

    Raises:
        VerifyError: The file is damaged, or tensors are missing.
    """
    if not is_archive(path):
        return  # the user's plugin wrote something else: only its digest can be compared
    seen = _outline(path)
    if seen is not None and (seen.named in _refused or _is_whole(path, wanted, seen)):
        _checks[seen.named] += 1
        return
    try:
        found = load_known(path)
    except pickle.UnpicklingError as error:
        if seen is not None:
            _refused[seen.named] = refused(error)
            _checks[seen.named] += 1
        return
    tensors = found.get("state_dict", {}) if isinstance(found, dict) else {}
    shapes = [(name, tuple(tensor.shape)) for name, tensor in tensors.items() if hasattr(tensor, "shape")]
    if (problem := missing(path, wanted, shapes)) is not None:
        raise VerifyError(problem)
    if seen is not None:
        _opened.update(seen.named)


def number_of_refusals() -> int:
    """Return how many checked files torch has refused in this process."""
    return sum(_checks[names] for names in _refused)


def why_refused(path: Path) -> str | None:
    """Return what torch refuses to load from a file without ``weights_only=False``; None if there is nothing."""
    seen = _outline(path)
    if seen is not None and (seen.named in _refused or seen.named <= _opened):
        return _refused.get(seen.named)
    try:
        load_known(path)
    except pickle.UnpicklingError as error:
        return refused(error)
    return None


def _is_whole(path: Path, wanted: Shapes, seen: Outline) -> bool:
    return seen.named <= _opened and missing(path, wanted, seen.shapes) is None


def refused(error: pickle.UnpicklingError) -> str:
    """Return what torch refused to load: the name of a class, or else the first line of the error."""
    found = _NAMED.search(str(error))
    return found.group(1) if found is not None else first_line(error)[:200]


def _outline(path: Path) -> Outline | None:
    try:
        return outline(path)
    except Exception:  # torch and pickle raise all kinds of errors; `load` finds out what is wrong
        return None


def is_archive(path: Path) -> bool:
    """Return True if a file is a zip archive, as `torch.save` writes them."""
    try:
        return path.is_file() and zipfile.is_zipfile(path)
    except OSError as error:
        raise VerifyError(f"{path}: cannot be read: {error.strerror or error}") from error


def load(path: Path) -> Any:
    """Return the saved object, with its tensors left on the disk; None if loading it needs the user's own classes."""
    try:
        return load_known(path)
    except pickle.UnpicklingError:
        return None  # weights_only=True refuses classes that it does not know


def load_known(path: Path) -> Any:
    """Return the saved object as `load` does.

    Raises:
        pickle.UnpicklingError: Loading it needs the user's own classes; see `refused`.
        VerifyError: The file is damaged.
    """
    import torch  # here, because only those who have such files need it

    try:
        with readable_name(path) as name:
            with zipfile.ZipFile(name) as archive:
                archive.infolist()
            return torch.load(name, map_location="cpu", mmap=True, weights_only=True)
    except (pickle.UnpicklingError, CkptError):
        raise
    except Exception as error:  # torch raises all kinds of errors when a file is damaged
        raise VerifyError(f"{path}: torch cannot open it: {first_line(error)}") from error
