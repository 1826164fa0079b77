"""Comparison of two blocks of memory."""

from __future__ import annotations

import numpy as np

_COMPARED = 1 << 20  # bytes at a time, so that they and the result stay in the processor's cache


def equal_bytes(a: memoryview | np.ndarray, b: memoryview | np.ndarray) -> bool:
    """Return whether two blocks of memory hold the same bytes.

    The comparison ends soon after the first difference, and holds the interpreter's lock only briefly.

    Args:
        a: Contiguous memory.
        b: Contiguous memory.
    """
    first, second = _bytes(a), _bytes(b)
    return len(first) == len(second) and all(
        np.array_equal(first[start : start + _COMPARED], second[start : start + _COMPARED])
        for start in range(0, len(first), _COMPARED)
    )


def _bytes(memory: memoryview | np.ndarray) -> np.ndarray:
    return memory.reshape(-1).view(np.uint8) if isinstance(memory, np.ndarray) else np.frombuffer(memory, np.uint8)
