"""The suffixes of packed checkpoints, after that of the native file: ``epoch=3.ckpt.cz``, ``epoch=3.ckpt.shards``."""

from __future__ import annotations

import os

from ...store.aliases import COMPRESSED, PACKED, SHARDS  # no framework has a reader for these


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a compressed or split checkpoint, by its name."""
    return os.fspath(path).endswith(PACKED)


def is_compressed(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a compressed checkpoint, by its name."""
    return os.fspath(path).endswith(COMPRESSED)


def is_split(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a folder of shards, by its name."""
    return os.fspath(path).endswith(SHARDS)


def native_name(name: str) -> str:
    """Return the name of the native file that a file or a folder stands for."""
    for suffix in PACKED:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name
