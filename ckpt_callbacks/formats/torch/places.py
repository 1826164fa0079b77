"""The places of storages in a ``.ckpt`` archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..zip_member import data_start
from .alignment import LARGE


def places(path: Path) -> dict[tuple[int, int], int]:
    """Return where each large storage begins, by its checksum and its size.

    Raises:
        OSError: The file cannot be read.
        zipfile.BadZipFile: It is no archive.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    stored = [info for info in members if info.file_size >= LARGE and info.compress_type == zipfile.ZIP_STORED]
    return {(info.CRC, info.file_size): data_start(path, info) for info in stored}
