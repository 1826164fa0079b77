"""What can be told of a checkpoint from its file alone, without the framework's adapter and without a manifest."""

from __future__ import annotations

from pathlib import Path

from .format import Format, Shapes, Written
from .keras import archive as keras_zip
from .keras import hdf5
from .torch import format as torch_zip

# By suffix; the longest one that fits counts. People with files of their own kind may add to it.
FORMATS: dict[str, Format] = {
    ".ckpt": torch_zip.FORMAT,
    ".keras": keras_zip.FORMAT,
    ".h5": hdf5.FORMAT,
}

__all__ = ["FORMATS", "Format", "Shapes", "Written", "format_of"]


def format_of(path: Path) -> Format | None:
    """The format of a checkpoint, by its suffix; None where nothing is known about it."""
    suffix = max((suffix for suffix in FORMATS if path.name.endswith(suffix)), key=len, default=None)
    return FORMATS[suffix] if suffix is not None else None
