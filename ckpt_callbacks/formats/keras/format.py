"""The two formats of Keras: the ``.keras`` archive and the HDF5 file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ...errors import StoreError, VerifyError, first_line
from ...policy.contents import Contents
from ..format import Format, Shapes, Written
from ..inside import Inside
from ..original import Original
from ..sharded.pieces import Piece
from . import embedded
from .check import check
from .original import original
from .suffix import KERAS, LEGACY


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever zipfile and h5py raise for a damaged file into a `VerifyError`."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        problem = "is not a readable Keras archive" if path.suffix == KERAS else "h5py cannot open it"
        raise VerifyError(f"{path}: {problem}: {first_line(error)}") from error


def _facts(path: Path) -> Mapping[str, Any] | None:
    with _readable(path):
        facts = embedded.read(path)
    return facts if isinstance(facts, dict) and "record" in facts else None


def _check(path: Path, wanted: Shapes) -> None:
    with _readable(path):
        check(path, wanted)


def _same(a: Path, b: Path) -> bool:
    from .equality import same_weights  # here, because only those who have such files need h5py

    return same_weights(a, b)


def _thin(path: Path, thinned: Path, record: Mapping[str, Any], contents: Contents) -> Written:
    from .thin import reduce  # here, for the same reason

    return reduce(path, thinned, record, contents)


@contextmanager
def _look(path: Path) -> Iterator[Inside]:
    from .inside import look  # here, for the same reason

    with ExitStack() as opened:
        with _readable(path):
            found = opened.enter_context(look(path))
        yield found


def _places(path: Path) -> Mapping[tuple[Any, int], int]:
    from .places import places  # here, for the same reason

    return places(path)


def _split(path: Path, folder: Path, most: int, progress: Callable[[int], object]) -> Sequence[Piece]:
    from .shards import split  # here, for the same reason

    return split(path, folder, most, progress)


def _original(path: Path) -> Original | None:
    with _readable(path):
        return original(path) if _facts(path) is None else None


ARCHIVE = Format(KERAS, _facts, _check, _same, _thin, _look, _places, _split, _original)
HDF5 = Format(LEGACY, _facts, _check, _same, _thin, _look, _places, _split, _original)
