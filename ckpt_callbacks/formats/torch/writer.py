"""A writer of `torch.save` files, straight from the memory of a snapshot and bypassing the page cache."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...errors import first_line
from ...formats import Written
from ...memory.pages import PAGE
from ...store import space
from ...store.direct_file import DirectFile
from .. import Shapes
from ..zip_writer import Member, crc32, directory
from .pickler import is_known, pickled

LARGE = 64 << 10  # bytes; storages of at least this size begin on a page in the file, for direct I/O
_ALIGN = 64  # what torch aligns storages to
_NEW_YEAR = (0, 0x21)  # the earliest date that an archive can hold; torch stores no date either
_ALMOST_NOTHING = 1 << 20  # bytes; after a write that failed for lack of space, less is free
_FOLDER = "archive"  # the name of the archive in memory, whatever the file is called


@dataclass(frozen=True)
class TorchFile:
    """All bytes of a file.

    Attributes:
        data: The pickle.
        storages: The storages, in the order of their names. Those of `LARGE` size are page-aligned, if possible. Those
            on a device are in host memory only while they are written: there may be no room for all of them.
    """

    data: bytes
    storages: Sequence[bytes | memoryview | torch.UntypedStorage]

    def write(self, path: Path) -> tuple[str, int]:
        """Write a new file, force it to the device, and return its digest and size.

        Neither torch nor the training run's memory is changed, and the interpreter's lock is held only briefly.

        Raises:
            OSError: The disk is full, or broken.
            RuntimeError: A device cannot be read.
        """
        pieces: list[tuple[str, bytes | memoryview | torch.UntypedStorage]]
        pieces = [("data.pkl", self.data), ("byteorder", sys.byteorder.encode())]
        pieces += [(f"data/{number}", storage) for number, storage in enumerate(self.storages)]
        pieces.append(("version", b"3\n"))
        members: list[Member] = []
        # Headers and padding are small, so no space is reserved for them.
        with DirectFile(path, sum(map(_size, self.storages)) + len(self.data)) as file:
            for name, piece in pieces:
                data = in_memory(piece.cpu()) if isinstance(piece, torch.UntypedStorage) else piece
                align = PAGE if name.startswith("data/") and len(data) >= LARGE else _ALIGN
                member = Member(f"{_FOLDER}/{name}", len(data), crc32(data), file.position, _NEW_YEAR, align)
                file.write(member.header())
                file.write(data)
                members.append(member)
                del data  # before the next one comes from the device
            file.write(directory(members))
            return file.finish()


def write(path: Path, obj: Any, shapes: Shapes = ()) -> Written:
    """Write an object directly from its own memory, without a copy of all of it in host memory.

    Args:
        path: The file; it must not exist.
        obj: Anything that `torch.save` takes.
        shapes: The tensors that the file must contain, for the result.

    Raises:
        OSError: The disk is full, or broken.
        Exception: Whatever `torch.save` raises.
    """
    if is_known():
        try:
            found = pickled(obj)
            sources = [in_memory(s) if s.device.type == "cpu" else s for s in found.storages]
            digest, size = TorchFile(found.data, [sources[place] for place in found.members]).write(path)
            return Written(shapes, digest, size)
        except OSError:
            raise
        except Exception:
            pass  # torch.save can write it, or says what is wrong with it
    with disk_errors(path):
        torch.save(obj, path)
    return Written(shapes)


def in_memory(storage: torch.UntypedStorage) -> memoryview:
    """Return the bytes of a storage in host memory; they keep the storage alive.

    Raises:
        NotImplementedError: The storage has a size, but no memory.
    """
    size = storage.nbytes()
    if not size:
        return memoryview(b"")
    if not (address := storage.data_ptr()):
        raise NotImplementedError("a storage without memory")
    bytes_ = (ctypes.c_char * size).from_address(address)
    bytes_.storage = storage
    return memoryview(bytes_).cast("B")


def _size(storage: bytes | memoryview | torch.UntypedStorage) -> int:
    return storage.nbytes() if isinstance(storage, torch.UntypedStorage) else len(storage)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise an `OSError` if the disk is full and the writer hides it: torch says "unexpected pos 64 vs 0"."""
    try:
        yield
    except Exception as error:
        hidden = not isinstance(error, OSError) and path.parent.exists()
        if hidden and space.free(path.parent) <= _ALMOST_NOTHING:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({first_line(error)})") from error
        raise
