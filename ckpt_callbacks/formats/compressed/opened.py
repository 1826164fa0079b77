"""Checkpoints as native files, whether they are compressed or not."""

from __future__ import annotations

import builtins
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from .suffix import is_compressed, native_name

_PIECE = 4 << 20


def open(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a checkpoint for reading, as its native bytes: ``torch.load(ckpt_callbacks.open(path))``.

    A compressed checkpoint is decompressed piece by piece, and each piece is compared with its checksum.

    Args:
        path: A checkpoint, compressed or not.

    Raises:
        OSError: It cannot be opened.
        MissingDependency: It is compressed, and the library for that is not installed.
        VerifyError: It is compressed, and damaged; also raised by the methods of the file object.
    """
    if not is_compressed(path):
        return builtins.open(path, "rb")
    from .reader import CompressedFile  # here, because it needs numpy

    return cast(BinaryIO, CompressedFile(path))


@contextmanager
def native_path(path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yield the path of a checkpoint's native file, for loaders that take no file object, such as Keras'.

    Use it in a ``with`` statement: the file of a compressed checkpoint is temporary, and is deleted at its end.

    Args:
        path: A checkpoint, compressed or not.
        folder: Where to put the temporary file; by default, the system's folder for those.

    Raises:
        OSError: The file cannot be read, or the temporary one cannot be written.
        MissingDependency: It is compressed, and the library for that is not installed.
        VerifyError: It is compressed, and damaged.
    """
    if not is_compressed(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="ckpt-", dir=folder) as temporary:
        native = Path(temporary, native_name(Path(path).name))
        restore(path, native)
        yield native


def restore(path: str | os.PathLike[str], native: Path) -> None:
    """Write the native bytes of a checkpoint, compressed or not, into a new file. Raises as `native_path` does."""
    with open(path) as source, builtins.open(native, "xb") as made:
        shutil.copyfileobj(source, made, _PIECE)


def check_whole(path: str | os.PathLike[str], progress: Callable[[int], object] | None = None) -> tuple[str, int]:
    """Decompress all of a compressed checkpoint, and return the digest and the size of its native file.

    Args:
        path: The compressed checkpoint.
        progress: Called with the number of bytes after each piece.

    Raises:
        OSError: It cannot be read.
        MissingDependency: The library that decompresses it is not installed.
        VerifyError: It is damaged.
    """
    from .reader import CompressedFile  # here, because it needs numpy

    with CompressedFile(path) as file:
        buffer = bytearray(_PIECE)
        while count := file.readinto(buffer):
            if progress is not None:
                progress(count)
        return f"xxh3_128:{file.header.digest.hex()}", file.header.size
