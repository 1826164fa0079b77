"""The native checkpoint formats. Reading them needs neither the framework's adapter nor a manifest."""

from __future__ import annotations

import zipfile
from pathlib import Path

from .compressed.format import compressed_form
from .format import Format, Shapes, Written
from .keras.format import ARCHIVE, HDF5
from .packed.suffix import is_packed, is_split, native_name
from .sharded.format import sharded_form
from .torch.format import TORCH

# By suffix; the longest match wins. Users may add their own formats.
FORMATS: dict[str, Format] = {format.suffix: format for format in (TORCH, ARCHIVE, HDF5)}

__all__ = ["FORMATS", "Format", "Shapes", "Written", "format_of", "format_within"]


def format_of(path: Path) -> Format | None:
    """Return the format of a checkpoint, by its suffix; None if no format has that suffix."""
    if is_packed(path):
        native = format_of(path.with_name(native_name(path.name)))
        packed_form = sharded_form if is_split(path) else compressed_form
        return packed_form(native) if native is not None else None
    suffix = max((suffix for suffix in FORMATS if path.name.endswith(suffix)), key=len, default=None)
    return FORMATS[suffix] if suffix is not None else None


def format_within(path: Path) -> Format | None:
    """Return the format of a file with any suffix, by what it holds; None if torch did not save it.

    Raises:
        OSError: The file cannot be read.
    """
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return None
    return TORCH if any(name.endswith("/data.pkl") for name in names) else None
