"""A writer of `torch.save` files, straight from the memory of a snapshot and bypassing the page cache."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...errors import first_line
from ...store import disk_space
from ...store.direct_file import DirectFile
from ..format import Shapes, Written
from ..zip_writer import ZipWriter
from .alignment import ALIGN, LARGE, alignment
from .computed import Computed, ComputedStorages
from .pickler import Pickled, is_known, pickled
from .small_members import SmallMembers

_NEW_YEAR = (0, 0x21)  # the earliest date that an archive can hold; torch stores no date either
_ALMOST_NOTHING = 1 << 20  # bytes; after a write that failed for lack of space, less is free
_LATER = (torch.UntypedStorage, Computed)  # what is brought into host memory only to be written
_FOLDER = "archive"  # the name of the archive in memory, whatever the file is called


@dataclass(frozen=True)
class TorchFile:
    """All bytes of a file.

    Attributes:
        data: The pickle.
        storages: The storages, in the order of their names; None for those in ``block``. Those of `LARGE` size are
            page-aligned, if possible. Those on a device, and computed ones, are in host memory only while they are
            written: there may be no room for all of them.
        small: The members in ``block``.
        block: The beginning of the file, with small storages.
    """

    data: bytes
    storages: Sequence[bytes | memoryview | torch.UntypedStorage | Computed | None]
    small: SmallMembers = SmallMembers()
    block: memoryview = memoryview(b"")

    def write(self, path: Path) -> tuple[str, int]:
        """Write a new file, force it to the device, and return its digest and size.

        Neither torch nor the training run's memory is changed, and the interpreter's lock is held only briefly.

        Raises:
            OSError: The disk is full, or broken.
            RuntimeError: A device cannot be read.
        """
        entries = self.small.seal(self.block)
        rest = [storage for storage in self.storages if storage is not None]
        # Headers and padding are small, so no space is reserved for them.
        with DirectFile(path, len(self.block) + sum(map(_size, rest)) + len(self.data)) as file:
            archive = ZipWriter(file, _NEW_YEAR)
            archive.add_block(self.block, entries, self.small.count)
            archive.add(f"{_FOLDER}/data.pkl", [self.data], ALIGN)
            archive.add(f"{_FOLDER}/byteorder", [sys.byteorder.encode()], ALIGN)
            for number, storage in enumerate(self.storages):
                if storage is not None:
                    data = in_memory(storage.cpu()) if isinstance(storage, _LATER) else storage
                    archive.add(f"{_FOLDER}/data/{number}", [data], alignment(len(data)))
                    del data  # before the next one comes from the device
            archive.add(f"{_FOLDER}/version", [b"3\n"], ALIGN)
            archive.finish()
            return file.finish()


def small_members(sizes: Sequence[int]) -> SmallMembers:
    """Return the members for those storages that are small.

    Args:
        sizes: The sizes of storages in bytes, in the order of their names.
    """
    small = [(f"{_FOLDER}/data/{number}", size) for number, size in enumerate(sizes) if size < LARGE]
    return SmallMembers([name for name, _ in small], [size for _, size in small], _NEW_YEAR, ALIGN)


def write(
    path: Path,
    obj: Any,
    shapes: Shapes = (),
    pickle: Callable[[Any], Pickled] | None = None,
    later: ComputedStorages | None = None,
) -> Written:
    """Write an object directly from its own memory, without a copy of all of it in host memory.

    Args:
        path: The file; it must not exist.
        obj: Anything that `torch.save` takes.
        shapes: The tensors that the file must contain, for the result.
        pickle: Pickles the object; by default, as `torch.save` does.
        later: What is computed only when it is written.

    Raises:
        OSError: The disk is full, or broken.
        Exception: Whatever `torch.save` raises.
    """
    if is_known():
        try:
            found = (pickle or pickled)(obj)
            computed = {} if later is None else later.computed
            sources = [
                computed.get(s._cdata) or (in_memory(s) if s.device.type == "cpu" else s) for s in found.storages
            ]
            digest, size = TorchFile(found.data, [sources[place] for place in found.members]).write(path)
            return Written(shapes, digest, size)
        except OSError:
            raise
        except Exception:
            pass  # torch.save can write it, or says what is wrong with it
    if later is not None:
        later.fill()
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


def bytes_of(storage: torch.UntypedStorage) -> bytes:
    """Return a copy of the bytes of a storage in host memory.

    Raises:
        NotImplementedError: The storage has a size, but no memory.
    """
    if (size := storage.nbytes()) and not storage.data_ptr():
        raise NotImplementedError("a storage without memory")
    return ctypes.string_at(storage.data_ptr(), size) if size else b""


def _size(storage: bytes | memoryview | torch.UntypedStorage | Computed) -> int:
    return storage.nbytes() if isinstance(storage, _LATER) else len(storage)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise an `OSError` if the disk is full and the writer hides it: torch says "unexpected pos 64 vs 0"."""
    try:
        yield
    except Exception as error:
        hidden = not isinstance(error, OSError) and path.parent.exists()
        if hidden and disk_space.free(path.parent) <= _ALMOST_NOTHING:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({first_line(error)})") from error
        raise
