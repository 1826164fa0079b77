"""The choice of the file for each tensor of a split checkpoint."""

from __future__ import annotations

from collections.abc import Sequence


def assigned(sizes: Sequence[int], most: int) -> list[range]:
    """Return which tensors go into each file: in their order, as many as fit.

    Args:
        sizes: The bytes that each tensor takes in a file, with what is said about it there.
        most: The bytes that a file may have. A tensor that needs more has a file of its own.
    """
    files: list[range] = []
    first, filled = 0, 0
    for number, size in enumerate(sizes):
        if number > first and filled + size > most:
            files.append(range(first, number))
            first, filled = number, 0
        filled += size
    return [*files, range(first, len(sizes))] if sizes else files
