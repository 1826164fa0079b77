"""A search for NaN and infinities in the memory of weights."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# The memory of some weights, and the name of their type.
Numbers = tuple["bytes | memoryview", str]

_PLAIN = {"float32": "float32", "float64": "float64", "complex64": "float32", "complex128": "float64"}
_EXPONENTS = {"float16": 0x7C00, "bfloat16": 0x7F80}  # all of these bits are set in NaN and infinities, and only there
_SMALL, _JOINED = 64 << 10, 256 << 10  # bytes
_CHUNK = 1 << 16  # numbers; a chunk and the results stay in the processor's cache


def all_finite(weights: Iterable[Numbers]) -> bool:
    """Return False if any of the weights is NaN or infinite. Types of less than 16 bits are not searched.

    The search runs on one thread, and holds the interpreter's lock only briefly.
    """
    small: dict[str, bytearray] = {}  # joined, because a search takes as long to start as to read 100 kB
    for data, dtype in weights:
        if len(data) < _SMALL:
            joined = small.setdefault(dtype, bytearray())
            joined += data
            if len(joined) < _JOINED:
                continue
            data = memoryview(small.pop(dtype))
        if not _is_finite(data, dtype):
            return False
    return all(_is_finite(data, dtype) for dtype, data in small.items())


def _is_finite(data: bytes | bytearray | memoryview, dtype: str) -> bool:
    results = np.empty(_CHUNK, bool)
    if dtype in _PLAIN:
        numbers = np.frombuffer(data, _PLAIN[dtype])
        return all(np.isfinite(chunk, out=results[: len(chunk)]).all() for chunk in _chunks(numbers))
    if dtype in _EXPONENTS:
        exponent, masked = np.uint16(_EXPONENTS[dtype]), np.empty(_CHUNK, np.uint16)
        for chunk in _chunks(np.frombuffer(data, np.uint16)):
            np.bitwise_and(chunk, exponent, out=masked[: len(chunk)])
            if np.equal(masked[: len(chunk)], exponent, out=results[: len(chunk)]).any():
                return False
    return True


def _chunks(numbers: np.ndarray) -> Iterable[np.ndarray]:
    return (numbers[begin : begin + _CHUNK] for begin in range(0, len(numbers), _CHUNK))
