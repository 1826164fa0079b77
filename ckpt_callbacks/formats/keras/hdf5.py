"""``.weights.h5`` and the legacy ``.h5``. Ours is a dataset in the root that Keras does not look at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import VerifyError, first_line
from ..format import Format, Shapes, missing

DATASET = "ckpt_callbacks"


def read(file: Any) -> dict[str, Any] | None:
    """What of ours lies in an open `h5py.File`."""
    return json.loads(file[DATASET][()].tobytes()) if DATASET in file else None


def write(path: Path, text: str) -> None:
    """Put ours into a file that Keras has written."""
    import h5py
    import numpy as np

    with h5py.File(path, "a") as file:
        file.create_dataset(DATASET, data=np.frombuffer(text.encode(), dtype=np.uint8))


def tensors(group: Any) -> Iterator[tuple[str, Any]]:
    """Every dataset with its name, ours left out."""
    import h5py

    found: list[tuple[str, Any]] = []
    group.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
    return ((name, item) for name, item in found if name != DATASET)


def check_open(path: Path, file: Any, wanted: Shapes) -> None:
    """Look for the wanted tensors in an open file, whose names for them are its own."""
    shapes = [("", tuple(item.shape)) for _, item in tensors(file)]
    if (problem := missing(path, [("", shape) for _, shape in wanted], shapes)) is not None:
        raise VerifyError(problem)


def _facts(path: Path) -> dict[str, Any] | None:
    import h5py

    try:
        with h5py.File(path) as file:
            facts = read(file)
    except Exception as error:  # h5py raises whatever comes up when a file is damaged
        raise VerifyError(f"{path}: h5py cannot open it: {first_line(error)}") from error
    return facts if isinstance(facts, dict) and "record" in facts else None


def _check(path: Path, wanted: Shapes) -> None:
    import h5py

    try:
        with h5py.File(path) as file:
            check_open(path, file, wanted)
    except Exception as error:  # h5py raises whatever comes up when a file is damaged
        raise VerifyError(f"{path}: h5py cannot open it: {first_line(error)}") from error


FORMAT = Format(_facts, _check)
