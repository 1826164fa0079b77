"""A member of a zip archive as a file of its own, where it is stored as it is."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_HEADER = 30  # bytes of a member's header before its name and what else lies there


def open_member(path: Path, name: str) -> io.BufferedIOBase | io.RawIOBase:
    """A member, to be read anywhere in it.

    zipfile's own file begins anew whenever its reader goes back, as HDF5 does for each dataset: 40 s for 1 GB.

    Raises:
        OSError, KeyError, zipfile.BadZipFile: there is no such archive, or no such member in it.
    """
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            return io.BytesIO(archive.read(info))
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_HEADER)
    if len(header) < _HEADER or header[:4] != b"PK\3\4":
        raise zipfile.BadZipFile(f"{path}: {name} has no header")
    return _Window(path, info.header_offset + _HEADER + sum(struct.unpack("<2H", header[-4:])), info.file_size)


class _Window(io.RawIOBase):
    """``size`` bytes of a file, from ``start`` on."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._start, self._size = start, size
        self.seek(0)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._file.tell() - self._start, io.SEEK_END: self._size}[whence]
        return self._file.seek(self._start + base + offset) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int | None:
        view = memoryview(buffer).cast("B")
        return self._file.readinto(view[: max(0, self._size - self.tell())])

    def close(self) -> None:
        self._file.close()
        super().close()
