"""The format ``.ckpt``: a zip archive of `torch.save`. This package's data are a key of the saved dictionary."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import VerifyError, first_line
from ..format import Format, Shapes, missing
from .outline import Outline, outline

KEY = "ckpt_callbacks"
_opened: set[tuple[str, str]] = set()  # the classes in files that torch itself has opened in this process


def _facts(path: Path) -> Mapping[str, Any] | None:
    if not _is_archive(path):
        return None
    found = _load(path)
    facts = found.get(KEY) if isinstance(found, dict) else None
    return facts if isinstance(facts, dict) and isinstance(facts.get("record"), dict) else None


def _check(path: Path, wanted: Shapes) -> None:
    if not _is_archive(path):
        return  # the user's plugin wrote something else: its digest is all that can be compared
    seen = _outline(path)
    if seen is not None and seen.named <= _opened and missing(path, wanted, seen.shapes) is None:
        return
    found = _load(path)
    if found is None:
        return
    tensors = found.get("state_dict", {}) if isinstance(found, dict) else {}
    shapes = [(name, tuple(tensor.shape)) for name, tensor in tensors.items() if hasattr(tensor, "shape")]
    if (problem := missing(path, wanted, shapes)) is not None:
        raise VerifyError(problem)
    if seen is not None:
        _opened.update(seen.named)


def _outline(path: Path) -> Outline | None:
    try:
        return outline(path)
    except Exception:  # torch and pickle raise all kinds of errors; `_load` finds out what is wrong
        return None


def _is_archive(path: Path) -> bool:
    try:
        return path.is_file() and zipfile.is_zipfile(path)
    except OSError as error:
        raise VerifyError(f"{path}: cannot be read: {error.strerror or error}") from error


def _load(path: Path) -> Any:
    """Return the saved object, with its tensors left on the disk; None if loading it needs the user's own classes."""
    import torch  # here, because only those who have such files need it

    try:
        with zipfile.ZipFile(path) as archive:
            archive.infolist()
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError:
        return None  # weights_only=True refuses classes that it does not know
    except Exception as error:  # torch raises all kinds of errors when a file is damaged
        raise VerifyError(f"{path}: torch cannot open it: {first_line(error)}") from error


def _same(a: Path, b: Path) -> bool:
    from .equality import same_weights  # here, for the same reason

    return same_weights(a, b)


TORCH = Format(".ckpt", _facts, _check, _same)
