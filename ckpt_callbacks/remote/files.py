"""The interface of a server that holds files in folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from ..errors import MirrorError
from .tree import FolderEntry


class Files(Protocol):
    """Files below a URL, named by keys. Its methods raise the errors of its engine, and `FileNotFoundError`."""

    @property
    def url(self) -> str:
        """The URL, without user and password."""

    @property
    def renames(self) -> bool:
        """Whether `move` exists; elsewhere, files are written under their own name."""

    @property
    def verifies(self) -> bool:
        """Whether `write` compares a checksum of the server."""

    @property
    def resumes(self) -> bool:
        """Whether `write` can continue a file, because all bytes before its end have arrived."""

    def find(self, key: str) -> FolderEntry | None:
        """Return what is known of a file, or None without one."""

    def entries(self, key: str) -> Iterable[FolderEntry]:
        """Return the files and folders of a folder; none if there is no such folder."""

    def write(self, key: str, pieces: Iterator[bytes], size: int, start: int = 0) -> None:
        """Write a file, or continue one.

        Args:
            key: Its key. The folder exists.
            pieces: Its bytes from ``start`` on. If they raise an exception, so does this method.
            size: Its size in the end.
            start: Where to begin.
        """

    def move(self, key: str, target: str, *, replace: bool) -> None:
        """Rename a file.

        Args:
            key: Its key.
            target: Its key from now on.
            replace: Replace the file that has this key.

        Raises:
            FileExistsError: There is such a file, and it may not be replaced.
        """

    def read(self, key: str, start: int, length: int | None) -> tuple[bytes, FolderEntry]:
        """Return bytes of a file, and what is known of it. A negative length is never asked for."""

    def remove(self, key: str) -> None:
        """Delete a file."""

    def make_folder(self, key: str) -> None:
        """Create a folder and those above it, if they do not exist. An empty key is the URL itself."""

    def remove_folder(self, key: str) -> None:
        """Delete a folder that was empty a moment ago."""

    def problem(self, where: str, error: Exception) -> MirrorError:
        """Return the error of the mirror for one of the engine, without secrets.

        Args:
            where: What the message begins with.
            error: The error.
        """
