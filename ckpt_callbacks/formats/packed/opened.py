"""Checkpoints as native files, whether they are packed or not."""

from __future__ import annotations

import builtins
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ..sharded.reader import SplitFile
from .native_bytes import NativeBytes
from .suffix import is_packed, is_split, native_name

_PIECE = 4 << 20


def open(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a checkpoint for reading, as its native bytes: ``torch.load(ckpt_callbacks.open(path))``.

    A compressed checkpoint is decompressed piece by piece, and each piece is compared with its checksum. Of one that is
    split into shards, the bytes come from these.

    Args:
        path: A checkpoint, in whatever form.

    Raises:
        OSError: It cannot be opened.
        MissingDependency: It is compressed, and the library for that is not installed.
        VerifyError: It is compressed or split, and damaged; also raised by the methods of the file object.
    """
    return cast(BinaryIO, _packed(path)) if is_packed(path) else builtins.open(path, "rb")


@contextmanager
def native_path(path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yield the path of a checkpoint's native file, for loaders that take no file object, such as Keras'.

    Use it in a ``with`` statement: the file of a packed checkpoint is temporary, and is deleted at its end.

    Args:
        path: A checkpoint, in whatever form.
        folder: Where to put the temporary file; by default, the system's folder for those.

    Raises:
        OSError: The file cannot be read, or the temporary one cannot be written.
        MissingDependency: It is compressed, and the library for that is not installed.
        VerifyError: It is compressed or split, and damaged.
    """
    if not is_packed(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="ckpt-", dir=folder) as temporary:
        native = Path(temporary, native_name(Path(path).name))
        restore(path, native)
        yield native


def restore(
    path: str | os.PathLike[str], native: Path, progress: Callable[[int], object] | None = None
) -> None:  # fmt: skip
    """Write the native bytes of a checkpoint, in whatever form, into a new file. Raises as `native_path` does.

    Args:
        path: The checkpoint.
        native: The new file.
        progress: Called with the number of bytes after each piece of a packed one.
    """
    if not is_packed(path):
        with builtins.open(path, "rb") as plain, builtins.open(native, "xb") as made:
            shutil.copyfileobj(plain, made, _PIECE)
        return
    with _packed(path) as source, builtins.open(native, "xb") as made:
        for piece in source.pieces():
            made.write(piece)
            if progress is not None:
                progress(len(piece))


def check_whole(path: str | os.PathLike[str], progress: Callable[[int], object] | None = None) -> tuple[str, int]:
    """Read all of a packed checkpoint, and return the digest and the size of its native file.

    Args:
        path: The packed checkpoint.
        progress: Called with the number of bytes after each piece.

    Raises:
        OSError: It cannot be read.
        MissingDependency: The library that decompresses it is not installed.
        VerifyError: It is damaged.
    """
    with _packed(path) as file:
        for piece in file.pieces():
            if progress is not None:
                progress(len(piece))
        return file.digest, file.size


def native_facts(path: str | os.PathLike[str]) -> tuple[str, int]:
    """Return what a packed checkpoint says about its native file: its digest and its size. Raises as `open` does."""
    with _packed(path) as file:
        return file.digest, file.size


def _packed(path: str | os.PathLike[str]) -> NativeBytes:
    if is_split(path):
        return SplitFile(path)
    from ..compressed.reader import CompressedFile  # here, because it needs numpy

    return CompressedFile(path)
