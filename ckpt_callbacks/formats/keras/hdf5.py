"""The HDF5 files ``.weights.h5`` and ``.h5``. This package's data are a dataset that Keras does not look at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import VerifyError
from ..format import Shapes, missing

DATASET = "ckpt_callbacks"


def read(file: Any) -> dict[str, Any] | None:
    """Return the data embedded in an open `h5py.File`; None if it holds none."""
    return json.loads(file[DATASET][()].tobytes()) if DATASET in file else None


def write(path: Path, text: str) -> None:
    """Embed a text in a file that Keras has written."""
    import h5py
    import numpy as np

    with h5py.File(path, "a") as file:
        file.create_dataset(DATASET, data=np.frombuffer(text.encode(), dtype=np.uint8))


def tensors(group: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of each dataset and the dataset, without this package's own."""
    import h5py

    found: list[tuple[str, Any]] = []
    group.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
    return ((name, item) for name, item in found if name != DATASET)


def check_open(path: Path, file: Any, wanted: Shapes) -> None:
    """Look for tensors in an open file by their shapes alone: the file has other names for them.

    Args:
        path: The path, for the error.
        file: The open `h5py.File`.
        wanted: The tensors that it must hold.

    Raises:
        VerifyError: Some are missing.
    """
    shapes = [("", tuple(item.shape)) for _, item in tensors(file)]
    if (problem := missing(path, [("", shape) for _, shape in wanted], shapes)) is not None:
        raise VerifyError(problem)


def check(path: Path, wanted: Shapes) -> None:
    """Open a file, and look for tensors in it; see `check_open`."""
    import h5py

    with h5py.File(path) as file:
        check_open(path, file, wanted)
