"""ONNX files, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


class OnnxModel:
    """An ONNX file that is open in onnxruntime.

    Args:
        path: The file.
        names: The names of the inputs, if the file may have them in another order.
    """

    def __init__(self, path: Path, names: Sequence[str] = ()) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        known = [entry.name for entry in self._session.get_inputs()]
        self._names = list(names) if set(names) == set(known) else known

    def feeds(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Return the inputs by name, from all of them in order."""
        return dict(zip(self._names, arrays, strict=True))

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return what the model computes from its inputs, in order."""
        return list(self._session.run(None, self.feeds(arrays)))
