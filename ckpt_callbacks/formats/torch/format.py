"""The format ``.ckpt``: a zip archive of `torch.save`. This package's data are a key of the saved dictionary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ...policy.contents import Contents
from ..format import Format, Written
from ..inside import Inside
from ..original import Original
from ..sharded.pieces import Piece
from .check import check, is_archive, load
from .places import places

KEY = "ckpt_callbacks"


def _facts(path: Path) -> Mapping[str, Any] | None:
    if not is_archive(path):
        return None
    found = load(path)
    facts = found.get(KEY) if isinstance(found, dict) else None
    return facts if isinstance(facts, dict) and isinstance(facts.get("record"), dict) else None


def _same(a: Path, b: Path) -> bool:
    from .equality import same_weights  # here, because torch is slow to import

    return same_weights(a, b)


def _thin(path: Path, thinned: Path, record: Mapping[str, Any], contents: Contents) -> Written:
    from .thin import reduce  # here, for the same reason

    return reduce(path, thinned, record, contents)


def _look(path: Path) -> AbstractContextManager[Inside]:
    from .inside import look  # here, for the same reason

    return look(path)


def _split(path: Path, folder: Path, most: int, progress: Callable[[int], object]) -> Sequence[Piece]:
    from .shards import split  # here, because it needs numpy

    return split(path, folder, most, progress)


def _original(path: Path) -> Original | None:
    from .original import original  # here, because torch is slow to import

    return original(path)


TORCH = Format(".ckpt", _facts, check, _same, _thin, _look, places, _split, _original)
