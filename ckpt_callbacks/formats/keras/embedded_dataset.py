"""The dataset with this package's data in ``.weights.h5`` and ``.h5`` files, which Keras ignores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATASET = "ckpt_callbacks"


def read(file: Any) -> dict[str, Any] | None:
    """Return the data embedded in an open `h5py.File`; None if it holds none."""
    return json.loads(file[DATASET][()].tobytes()) if DATASET in file else None


def write(path: Path, text: str) -> None:
    """Embed a string in a file that Keras has written."""
    import h5py
    import numpy as np

    with h5py.File(path, "a") as file:
        file.create_dataset(DATASET, data=np.frombuffer(text.encode(), dtype=np.uint8))
