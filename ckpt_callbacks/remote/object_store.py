"""The interface of a place that holds objects under keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from .upload import Upload

ANY: Final = "*"  # of the versions that an object may have before it is written


@dataclass(frozen=True)
class ObjectFacts:
    """What a store says about one object.

    Attributes:
        key: Its key, relative to the store's URL: ``records/0001.json``.
        size: Its size in bytes; what has arrived so far, or 0, for an upload that is not finished.
        version: Changes each time the object is written, as an ETag or a generation does; empty if the store has none.
        checksum: Over all of its bytes, with the name of the algorithm, such as ``crc32c:9a71bb4c`` or ``md5:...``;
            lower-case hexadecimal. Empty if the store keeps none, or does not say it in this call.
        modified: When it was written, in seconds since 1970 by the store's clock; 0 if that is not known.
        upload: The store's name of an upload that is not finished; empty for an object.
    """

    key: str
    size: int = 0
    version: str = ""
    checksum: str = ""
    modified: float = 0.0
    upload: str = ""


class ObjectStore(Protocol):
    """A place that holds objects below a URL. Its methods may be called on several threads at once.

    All of them raise `MirrorUnreachable` if trying again later may help (no connection, a time-out, 500, 503, a quota),
    and `MirrorError` if it does not (credentials, rights, no such bucket, another region, a key that the store
    forbids). No message holds a secret. They make one attempt each, of at most about a minute without any progress;
    whoever calls them tries again.
    """

    @property
    def url(self) -> str:
        """The URL, without user and password."""

    @property
    def has_conditions(self) -> bool:
        """Whether the store itself compares versions, so that of two writers at once exactly one wins.

        Other stores look first, and then write.
        """

    def put(self, key: str, data: bytes, *, replacing: str = ANY) -> ObjectFacts:
        """Write a small object whole: readers see the old one or the new one.

        Args:
            key: Its key.
            data: Its bytes.
            replacing: The version that the object must have now, or an empty string if there must be none. By default,
                whatever is there is replaced.

        Raises:
            MirrorConflict: The object has another version, or exists, or is gone.
        """

    def upload(self, upload: Upload) -> ObjectFacts:
        """Write a large object from a file, in parts, several of them at a time. Replaces what is there.

        Continues what `Upload.state` describes if the store still has it. Readers see nothing of it before it is whole,
        in stores that can do that. The bytes are read from the file part by part, and compared with the store's
        checksum where it has one.

        Raises:
            MirrorDamaged: The store has received other bytes.
        """

    def read(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, ObjectFacts]:
        """Return bytes of an object, and its facts.

        Args:
            key: Its key.
            start: The first byte.
            length: How many; all that follow by default. Fewer come back at its end.

        Raises:
            FileNotFoundError: There is no such object.
        """

    def stat(self, key: str) -> ObjectFacts | None:
        """Return the facts of an object, with its checksum if the store has one, in one request; None without it."""

    def list(self, prefix: str = "", *, unfinished: bool = False) -> Iterator[ObjectFacts]:
        """Yield the objects whose key begins so, in the order of their keys. Requests the next page when it is needed.

        Args:
            prefix: The beginning of the keys, such as ``records/``. Objects of any depth below it are listed.
            unfinished: Yield the uploads that have not been finished instead, if the store keeps any.
        """

    def delete(self, objects: Iterable[ObjectFacts]) -> None:
        """Delete objects by their key, and uploads that are not finished. A missing one is not an error."""
