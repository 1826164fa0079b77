"""This package's own data in a Keras file of either kind, which Keras itself ignores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..packed.suffix import native_name
from . import archive, embedded_dataset
from .hdf5_part import hdf5_part
from .suffix import KERAS


def read(path: Path) -> dict[str, Any] | None:
    """Return the embedded data of a file; None if it holds none.

    Raises:
        OSError: The file cannot be read, or is not an HDF5 file.
        KeyError: The archive lacks Keras' metadata.
        ValueError: The embedded data are not JSON.
        zipfile.BadZipFile: The file is not an archive.
    """
    if native_name(path.name).endswith(KERAS):
        return archive.read(path)
    with hdf5_part(path) as file:
        return embedded_dataset.read(file)


def write(path: Path, facts: Mapping[str, Any]) -> None:
    """Embed data in a file that Keras has written."""
    if path.suffix == KERAS:
        archive.write(path, facts)
    else:
        embedded_dataset.write(path, json.dumps(facts))
