"""The interface of a form into which a checkpoint's file can be brought, and from which its bytes come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ...record import Record

Progress = Callable[[int], object]


class Packing(Protocol):
    """One form.

    Attributes:
        suffix: What a file's name gets after the native suffix.
        done: What has become of a checkpoint, such as ``compressed``.
        least: The part of its bytes that a checkpoint has to gain; otherwise it stays as it is.
    """

    suffix: str
    done: str
    least: float

    def takes(self, record: Record) -> bool:
        """Return whether a checkpoint is in the form from which this one is made."""

    def facts(self, digest: str, size: int) -> Mapping[str, Mapping[str, Any]]:
        """Return what the record says about the native file: `Record.compressed` and `Record.shards`."""

    def write(self, record: Record, staged: Path, progress: Progress) -> None:
        """Write the new file, or folder.

        Args:
            record: The record of the checkpoint.
            staged: Where to write.
            progress: Called with the number of bytes after each piece.

        Raises:
            OSError: The disk is full, or broken.
            StoreError: The checkpoint has no such form.
        """

    def check(self, staged: Path, progress: Progress) -> tuple[str, int]:
        """Return the digest and the size of the native file, after reading all of what was written."""


def native_facts(record: Record) -> tuple[str, int]:
    """Return the digest and the size of a checkpoint's native file.

    Raises:
        OSError: The record does not know them, because an older version wrote it, and the checkpoint cannot be read.
        VerifyError: It is damaged.
    """
    from . import opened
    from .suffix import is_packed

    facts = record.shards or record.compressed
    if "digest" in facts:
        return facts["digest"], facts["size"]
    return opened.native_facts(record.path) if is_packed(record.file) else (record.digest, record.size)
