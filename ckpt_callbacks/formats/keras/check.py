"""The check that a Keras file opens and holds its tensors."""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import VerifyError
from ..format import Shapes, missing
from .archive import ARRAYS
from .embedded_dataset import DATASET
from .hdf5_part import hdf5_part
from .suffix import KERAS


def check(path: Path, wanted: Shapes) -> None:
    """Open a file as Keras does, and look for tensors in it by their shapes, because their names differ in the file.

    Args:
        path: The file.
        wanted: The tensors that it must hold; if there are none, it is only opened.

    Raises:
        Exception: Whatever zipfile and h5py raise for a damaged file; `VerifyError` if tensors are missing.
    """
    if path.suffix == KERAS:
        with zipfile.ZipFile(path) as archive:
            _parse(archive.read("config.json"))
    with hdf5_part(path) as file:
        _check_open(path, file, wanted)


def tensors(group: Any) -> Iterator[tuple[str, Any]]:
    """Yield each dataset with its name, except this package's own."""
    import h5py

    found: list[tuple[str, Any]] = []
    group.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
    return ((name, item) for name, item in found if name != DATASET and not name.startswith(f"{ARRAYS}/"))


@functools.lru_cache(maxsize=2)
def _parse(config: bytes) -> None:
    # The configuration rarely changes from save to save, and parsing it would take longer than all other checks.
    json.loads(config)


def _check_open(path: Path, file: Any, wanted: Shapes) -> None:
    if not wanted:  # to visit a thousand datasets takes 0.1 s, during which training cannot run
        return
    shapes = [("", tuple(item.shape)) for _, item in tensors(file)]
    if (problem := missing(path, [("", shape) for _, shape in wanted], shapes)) is not None:
        raise VerifyError(problem)
