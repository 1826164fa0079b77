"""LiteRT files, run by the LiteRT interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np


def load(path: Path, names: Sequence[str]) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """Return what computes the outputs of a file from its inputs, in order.

    Args:
        path: The file.
        names: The names of the inputs.
    """
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner()
    known = list(runner.get_input_details())
    keys = list(names) if set(names) == set(known) else known

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs = runner(**dict(zip(keys, arrays, strict=True)))
        return [outputs[name] for name in sorted(outputs, key=lambda name: (len(name), name))]  # output_2, output_10

    return run
