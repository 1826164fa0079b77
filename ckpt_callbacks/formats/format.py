"""The interface of a checkpoint file's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import listed
from ..policy.contents import Contents
from .inside import Inside
from .original import Original
from .sharded.pieces import Piece

# The tensors that a checkpoint must hold: names (if the format has them) and shapes.
Shapes = Sequence[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Written:
    """The facts about a file, or directory, that was just written.

    Attributes:
        shapes: The tensors to look for in it; empty if they are not known, or if the writer has made sure of them.
        digest: The digest of all bytes if the writer forced them to the device, otherwise None.
        size: The size in bytes if the writer forced them to the device, otherwise None.
        finite: False if a search has found NaN or an infinity in a trained weight.
        compressed: The facts of the native file, if this one is compressed; see `Record.compressed`.
        reduced: What was rounded or left out in comparison with the file that this one was made from; see
            `Record.reduced`.
    """

    shapes: Shapes = ()
    digest: str | None = None
    size: int | None = None
    finite: bool = True
    compressed: Mapping[str, Any] = field(default_factory=dict)
    reduced: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """One kind of checkpoint file, and how to look into it.

    Attributes:
        suffix: The end of the files' names, such as ``.ckpt``.
        facts: Returns the data that this package embedded in a file, ``{"record": {...}, ...}``; None for any other
            file. Never runs code that the file holds. Raises `VerifyError` if the file cannot be read.
        check: Opens a file as its framework does and looks for the tensors that it must hold. Raises `VerifyError`.
        same: Returns True if two files hold equal weights, whatever else differs.
        thin: Writes what the contents say of the first file into the second one, which the framework reads in the same
            way. The embedded record is the one that it gets, with `Record.reduced` completed. Raises `StoreError` if
            that cannot be done. None if the format has no such form.
        look: Opens a file for comparison with another one, without building a model or running code that it holds.
            Raises `VerifyError` if it is damaged, and `StoreError`. None if files of the format cannot be compared.
        places: Returns where large arrays begin in a file, by keys that arrays with equal bytes have in common; other
            arrays may have them, too. The last part of a key is the number of bytes. None if that is not known.
        split: Writes the weights of a file into a folder, in files that other programs of the framework read, with an
            index of these, and returns which bytes of the file are where. No file gets larger than the given number of
            bytes, unless a single tensor is; the last argument is called with the number of bytes after each piece.
            Raises `StoreError` if the file has no such form. None if the format has none.
        original: Returns the facts of a file that the framework's own callbacks wrote; None for any other file, such as
            one with data of this package. Never runs code that the file holds. Raises `VerifyError` if the file is
            damaged. None if there are no such files.
    """

    suffix: str
    facts: Callable[[Path], Mapping[str, Any] | None]
    check: Callable[[Path, Shapes], None]
    same: Callable[[Path, Path], bool]
    thin: Callable[[Path, Path, Mapping[str, Any], Contents], Written] | None = None
    look: Callable[[Path], AbstractContextManager[Inside]] | None = None
    places: Callable[[Path], Mapping[tuple[Any, int], int]] | None = None
    split: Callable[[Path, Path, int, Callable[[int], object]], Sequence[Piece]] | None = None
    original: Callable[[Path], Original | None] | None = None


def missing(path: Path, wanted: Shapes, found: Shapes) -> str | None:
    """Return one line about the first wanted tensors that were not found; None if all were found."""
    left = Counter(wanted) - Counter(found)
    lacking = [f"{name or 'a tensor'} of shape {shape}" for name, shape in left.elements()]
    if not lacking:
        return None
    return f"{path}: lacks {listed(lacking)}"
