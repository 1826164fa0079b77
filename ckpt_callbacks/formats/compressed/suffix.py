"""The suffix of compressed checkpoints, after that of the native file: ``epoch=3.ckpt.cz``."""

from __future__ import annotations

import os

SUFFIX = ".cz"  # no framework has a reader for it, so that none takes the file for a native one


def is_compressed(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a compressed checkpoint, by its name."""
    return os.fspath(path).endswith(SUFFIX)


def native_name(name: str) -> str:
    """Return the name of the native file that a file stands for."""
    return name.removesuffix(SUFFIX)
