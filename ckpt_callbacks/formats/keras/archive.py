"""``.keras``: a zip archive. Ours is one more key of its ``metadata.json``.

A member of its own would make Keras take the archive for one with assets, and unpack all of it at each load.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from ...errors import VerifyError, first_line
from ..format import Format, Shapes
from ..zip_member import opened
from . import hdf5

KEY, METADATA, WEIGHTS = "ckpt_callbacks", "metadata.json", "model.weights.h5"


def read(path: Path) -> dict[str, Any] | None:
    """What of ours lies in the archive."""
    with zipfile.ZipFile(path) as archive:
        found: dict[str, Any] | None = json.loads(archive.read(METADATA)).get(KEY)
    return found


def merged(metadata: str | bytes, facts: dict[str, Any]) -> str:
    """Keras' ``metadata.json`` with ours in it."""
    return json.dumps(json.loads(metadata) | {KEY: facts})


def write(path: Path, facts: dict[str, Any]) -> None:
    """Put ours into an archive that Keras has written."""
    with zipfile.ZipFile(path, "a") as archive:
        entry = archive.getinfo(METADATA)
        metadata = merged(archive.read(entry), facts)
        archive.filelist.remove(entry)  # the old one's few bytes stay where they are, but nothing names them any more
        del archive.NameToInfo[METADATA]
        archive.writestr(METADATA, metadata)


def _facts(path: Path) -> dict[str, Any] | None:
    try:
        facts = read(path)
    except Exception as error:  # zipfile and h5py raise whatever comes up
        raise VerifyError(f"{path}: is no Keras archive that can be read: {first_line(error)}") from error
    return facts if isinstance(facts, dict) and "record" in facts else None


def _check(path: Path, wanted: Shapes) -> None:
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            json.loads(archive.read("config.json"))
        with opened(path, WEIGHTS) as member, h5py.File(member) as file:
            hdf5.check_open(path, file, wanted)
    except Exception as error:  # zipfile and h5py raise whatever comes up
        raise VerifyError(f"{path}: is no Keras archive that can be read: {first_line(error)}") from error


FORMAT = Format(_facts, _check)
