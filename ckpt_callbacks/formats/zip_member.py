"""Random access to one member of a zip archive."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .packed.opened import open as open_native
from .packed.suffix import is_packed
from .zip_writer import LOCAL_HEADER, LOCAL_SIGNATURE

if TYPE_CHECKING:
    from typing_extensions import Buffer


def open_member(path: Path, name: str) -> io.BufferedIOBase | io.RawIOBase:
    """Open a member for reading at any position, also of an archive in a packed checkpoint.

    zipfile's own file starts from the beginning whenever its reader goes back, as HDF5 does for each dataset: 40 s for
    1 GB. A compressed member is read into memory.

    Raises:
        OSError: There is no such file, or it cannot be read.
        KeyError: The archive has no such member.
        zipfile.BadZipFile: The file is not an archive.
    """
    with open_native(path) as file, zipfile.ZipFile(file) as archive:
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            return io.BytesIO(archive.read(info))
    return _FileSection(path, data_start(path, info), info.file_size)


def data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where the bytes of a member begin in its archive.

    Raises:
        OSError: The archive cannot be read.
        zipfile.BadZipFile: It is damaged.
    """
    with open_native(path) as file:
        file.seek(info.header_offset)
        header = file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or header[:4] != LOCAL_SIGNATURE:
        raise zipfile.BadZipFile(f"{path}: {info.filename} has no header")
    *_, name_size, extra_size = LOCAL_HEADER.unpack(header)
    return int(info.header_offset + LOCAL_HEADER.size + name_size + extra_size)


def _raw(path: Path) -> io.RawIOBase:
    return cast(io.RawIOBase, open_native(path)) if is_packed(path) else path.open("rb", buffering=0)


class _FileSection(io.RawIOBase):
    """A read-only view of ``size`` bytes of a file, from ``start`` on."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = _raw(path)
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
