"""The native file of a checkpoint that is loaded, which may be compressed or split."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ResumeError
from ..formats.packed.opened import native_path
from ..formats.packed.suffix import is_packed


@contextmanager
def native_file(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """Yield the path of the native file, which is deleted at the end if the checkpoint is packed.

    Args:
        path: The checkpoint, which errors name.
        scratch: A folder on disk for the temporary file; by default, the system's.

    Raises:
        ResumeError: Loading raised it.
        VerifyError: The checkpoint is packed, and damaged.
    """
    if not is_packed(path):
        yield path
        return
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with native_path(path, scratch) as native:
        try:
            yield native
        except ResumeError as error:
            raise ResumeError(str(error).replace(str(native), str(path))) from error
