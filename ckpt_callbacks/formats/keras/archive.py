"""The zip archive of a ``.keras`` file. This package's data are one more key of its ``metadata.json``.

A member for them alone would make Keras take the archive for one with assets, and unpack all of it at each load.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..format import Shapes
from ..zip_member import open_member
from . import hdf5

KEY, METADATA, WEIGHTS = "ckpt_callbacks", "metadata.json", "model.weights.h5"


def read(path: Path) -> dict[str, Any] | None:
    """Return the data embedded in an archive; None if it holds none."""
    with zipfile.ZipFile(path) as archive:
        found: dict[str, Any] | None = json.loads(archive.read(METADATA)).get(KEY)
    return found


def merge(metadata: str | bytes, facts: Mapping[str, Any]) -> str:
    """Return Keras' ``metadata.json`` with data embedded in it."""
    return json.dumps(json.loads(metadata) | {KEY: facts})


def write(path: Path, facts: Mapping[str, Any]) -> None:
    """Embed data in an archive that Keras has written."""
    with zipfile.ZipFile(path, "a") as archive:
        entry = archive.getinfo(METADATA)
        metadata = merge(archive.read(entry), facts)
        archive.filelist.remove(entry)  # the old one's few bytes stay where they are, but nothing names them any longer
        del archive.NameToInfo[METADATA]
        archive.writestr(METADATA, metadata)


def check(path: Path, wanted: Shapes) -> None:
    """Open an archive as Keras does, and look for tensors in it.

    Args:
        path: The archive.
        wanted: The tensors that it must hold.

    Raises:
        Exception: Whatever zipfile and h5py raise for a damaged file; `VerifyError` if tensors are missing.
    """
    import h5py

    with zipfile.ZipFile(path) as archive:
        json.loads(archive.read("config.json"))
    with open_member(path, WEIGHTS) as member, h5py.File(member) as file:
        hdf5.check_open(path, file, wanted)
