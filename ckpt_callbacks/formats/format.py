"""What is asked of a kind of checkpoint file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The tensors that a checkpoint must hold: names (where the format has them) and shapes.
Shapes = Sequence[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Written:
    """What is known of a file, or directory, that was just written.

    Attributes:
        shapes: The tensors that must be found in it; empty where nothing is known about them.
        digest, size: Over every byte, where the writer forced them to the device; else None.
    """

    shapes: Shapes = ()
    digest: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Format:
    """How to look into one kind of checkpoint.

    Attributes:
        facts: What this package wrote into the file at the given path, ``{"record": {...}, ...}``; None when it is
            somebody else's. Never runs code that the file holds. Raises `VerifyError` where the file cannot be read.
        check: Opens the file as its framework does and looks for the tensors that it must hold. Raises `VerifyError`.
    """

    facts: Callable[[Path], Mapping[str, Any] | None]
    check: Callable[[Path, Shapes], None]


def missing(path: Path, wanted: Shapes, found: Shapes) -> str | None:
    """One line about the first tensors that are wanted and not found; None when all are there."""
    left = Counter(wanted) - Counter(found)
    lacking = [f"{name or 'a tensor'} of shape {shape}" for name, shape in left.elements()]
    if not lacking:
        return None
    rest = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return f"{path}: lacks {', '.join(lacking[:3])}{rest}"
