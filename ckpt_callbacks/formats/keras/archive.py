"""The zip archive of a ``.keras`` file. This package's data are one more key of its ``metadata.json``.

With a separate member, Keras would mistake the archive for one with assets, and unpack all of it at each load.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..packed.opened import open as open_native

KEY, METADATA, WEIGHTS = "ckpt_callbacks", "metadata.json", "model.weights.h5"
ARRAYS = "ckpt_callbacks_arrays"  # the HDF5 group of this package's own arrays, beside the weights
OPTIMIZERS = "optimizers"  # the key of the HDF5 groups of optimizers in the data that `read` returns
PLACES = "arrays"  # the key of the places of these arrays in the data that `read` returns
_PLACES = f"{KEY}.{PLACES}"  # the key of the places in ``metadata.json``


def read(path: Path) -> dict[str, Any] | None:
    """Return the data embedded in an archive, compressed or not; None if it holds none."""
    with open_native(path) as file, zipfile.ZipFile(file) as archive:
        metadata = json.loads(archive.read(METADATA))
    found: dict[str, Any] | None = metadata.get(KEY)
    return found if found is None or _PLACES not in metadata else {**found, PLACES: metadata[_PLACES]}


def merge(metadata: str | bytes, facts: Mapping[str, Any]) -> str:
    """Return Keras' ``metadata.json`` with data embedded in it."""
    return json.dumps(json.loads(metadata) | {KEY: facts})


def add_places(metadata: bytes, places: Sequence[Any]) -> bytes:
    """Return the encoded result of `merge` with the places of this package's own arrays added.

    The places are known only when the file is written. They are added at the end, so that nothing is parsed again.
    """
    return metadata[: metadata.rindex(b"}")] + f", {json.dumps(_PLACES)}: {json.dumps(places)}}}".encode()


def write(path: Path, facts: Mapping[str, Any]) -> None:
    """Embed data in an archive that Keras has written."""
    with zipfile.ZipFile(path, "a") as archive:
        entry = archive.getinfo(METADATA)
        metadata = merge(archive.read(entry), facts)
        archive.filelist.remove(entry)  # its few bytes stay in the file, but no entry refers to them any more
        del archive.NameToInfo[METADATA]
        archive.writestr(METADATA, metadata)
