"""Files in a run directory that look like checkpoints, are in no record, and cannot be read."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import VerifyError
from ..formats import format_of
from ..store.manifest import Manifest
from .rebuild import has_valid_checksums
from .repair import Repair
from .unnamed import unnamed_paths

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF"  # the first bytes of the files of all formats
_LOST = (b"", b"\0\0\0\0")  # those of a file whose content a disk has lost


def find_unreadable(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair, which changes nothing, for each of these files: a rebuild could not list it."""
    for path in sorted(unnamed_paths(manifest)):
        if path.is_file() and (problem := _problem_of(path)) is not None:
            yield Repair(
                f"{path}: looks like a checkpoint, is not in the manifest, and cannot be read: {problem}",
                "left unchanged: delete it, or move it away",
                lambda: None,
            )


def _problem_of(path: Path) -> str | None:
    form = format_of(path)
    if form is None:
        return None
    try:
        with open(path, "rb") as file:
            start = file.read(4)
        if start in _LOST:
            return "its content is lost" if start else "it is empty"
        if start not in (_ZIP, _HDF5):
            return None  # it may be anything
        if start == _ZIP and not zipfile.is_zipfile(path):
            return "its end is missing or damaged"
        if not has_valid_checksums(path):
            return "its checksums do not match"
        form.facts(path)
    except OSError as error:
        return error.strerror or str(error)
    except VerifyError as error:
        return str(error).removeprefix(f"{path}: ")
    return None
