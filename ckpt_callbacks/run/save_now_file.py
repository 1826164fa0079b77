"""The file that asks a training run for a save, and the tags that it names."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..errors import StoreError
from ..record import is_tag
from ..store.private_files import open_file

_MOST = 1 << 16  # bytes that are read
_TRIES = 10


def request_save(save_now: Path, tag: str | None = None) -> None:
    """Ask the training run for a save; the tags of all requests that it has not answered are collected.

    Args:
        save_now: The file that asks for it.
        tag: A tag for the checkpoint.

    Raises:
        StoreError: Something that is not a regular file has the name.
        OSError: The file cannot be written.
    """
    for _ in range(_TRIES):
        descriptor = open_file(save_now, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            if tag is not None:
                os.write(descriptor, f"{tag}\n".encode())
            os.utime(descriptor)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.lstat(save_now)):
                    return
        finally:
            os.close(descriptor)
        # The training run answered an earlier request, and removed the file meanwhile.


class SaveRequest:
    """The text of the request file, as the training run has read it: a tag on each line.

    Args:
        save_now: The file that asks for a save. It may be any kind of file, since people touch it by hand.

    Attributes:
        tags: The tags of the open request.
    """

    def __init__(self, save_now: Path) -> None:
        self._save_now = save_now
        self._text = ""
        self._done = ""  # the text that earlier saves have answered, while the file could not be removed
        self.tags: tuple[str, ...] = ()

    def read(self) -> None:
        """Read the tags of the open request; those of an answered one, which stand before them, are left out."""
        self._text = _text_of(self._save_now)
        new = self._text[len(self._done) :] if self._text.startswith(self._done) else self._text
        self.tags = tuple(dict.fromkeys(line for line in new.splitlines() if is_tag(line)))

    def answered(self) -> None:
        """Record that the open request was answered. The next one may be appended to the same file."""
        self._done, self.tags = self._text, ()


def _text_of(path: Path) -> str:
    """Return the text of a regular file, and an empty text for any other kind, without waiting."""
    try:
        descriptor = open_file(path, os.O_RDONLY)
    except (OSError, StoreError):
        return ""
    try:
        return os.read(descriptor, _MOST).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
