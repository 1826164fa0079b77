"""The zip archive of a ``.keras`` file. This package's data are one more key of its ``metadata.json``.

With a separate member, Keras would mistake the archive for one with assets, and unpack all of it at each load.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        archive.filelist.remove(entry)  # its few bytes stay in the file, but no entry refers to them any more
        del archive.NameToInfo[METADATA]
        archive.writestr(METADATA, metadata)
