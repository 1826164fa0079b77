"""Names by which torch can open files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..packed.opened import native_path


@contextmanager
def readable_name(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield a name by which torch can open a file: its path, or another one if that is not UTF-8, which torch needs.

    In place of a packed checkpoint, it is that of the native file, which exists until the end.

    Raises:
        OSError: The file cannot be opened.
        VerifyError: It is packed, and damaged.
    """
    with native_path(path) as native:
        name = os.fspath(native)
        try:
            name.encode()
        except UnicodeEncodeError:  # a share from the time of Latin-1
            descriptor = os.open(native, os.O_RDONLY)
            try:
                yield f"/dev/fd/{descriptor}"
            finally:
                os.close(descriptor)
        else:
            yield name
