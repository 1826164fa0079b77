"""The objects of a place that has folders, in the order of their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .names import object_and_upload
from .object_store import ObjectFacts


@dataclass(frozen=True)
class FolderEntry:
    """A file or a folder.

    Attributes:
        name: Its name, without the folders above it.
        is_folder: Whether it is a folder.
        size: The size of a file in bytes.
        version: Changes each time the file is written.
        modified: When it was written, in seconds since 1970; 0 if that is not known.
        checksum: As in `ObjectFacts`.
    """

    name: str
    is_folder: bool = False
    size: int = 0
    version: str = ""
    modified: float = 0.0
    checksum: str = ""

    def facts(self, key: str, upload: str = "") -> ObjectFacts:
        """Return the facts of the object.

        Args:
            key: Its key.
            upload: The name of its upload, if it is not finished.
        """
        return ObjectFacts(key, self.size, self.version, self.checksum, self.modified, upload)


def walk(entries: Callable[[str], Iterable[FolderEntry]], prefix: str, *, unfinished: bool) -> Iterator[ObjectFacts]:
    """Yield the objects below a prefix, without the files of somebody else. A folder is listed when it is reached.

    Args:
        entries: Returns the entries of a folder, which is named by its key; none if there is no such folder.
        prefix: The beginning of the keys.
        unfinished: Yield the uploads that are not finished instead.
    """
    yield from _below(entries, prefix.rpartition("/")[0], prefix, unfinished)


def _below(
    entries: Callable[[str], Iterable[FolderEntry]],
    folder: str,
    prefix: str,
    unfinished: bool,
) -> Iterator[ObjectFacts]:
    found: list[tuple[str, str, FolderEntry]] = []
    for entry in entries(folder):
        names = object_and_upload(entry.name)
        if names is None or (entry.is_folder and names[1]):
            continue
        key = f"{folder}/{names[0]}" if folder else names[0]
        if entry.is_folder:
            key += "/"  # "a/b" comes after "a-b", but "a" before it
            if key.startswith(prefix) or prefix.startswith(key):
                found.append((key, "", entry))
        elif bool(names[1]) == unfinished and key.startswith(prefix):
            found.append((key, names[1], entry))
    for key, upload, entry in sorted(found, key=lambda each: each[:2]):
        if entry.is_folder:
            yield from _below(entries, key[:-1], prefix, unfinished)
        else:
            yield entry.facts(key, upload)
