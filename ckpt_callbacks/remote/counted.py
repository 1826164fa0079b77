"""A store whose requests are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .object_store import ANY, ObjectFacts, ObjectStore
from .upload import Upload

_PAGE = 1000  # objects in one answer to a list request, and in one request to delete


class Counted:
    """Counts requests to a store in the two classes that stores have prices for.

    Each part of an upload, and each page of objects that are listed or deleted, is one request; what the engine sends
    besides is not counted.

    Args:
        store: The store.
        received: Called with the number of bytes after each read, on any thread.

    Attributes:
        writes: Requests so far that write, list or delete objects.
        reads: Requests so far that read objects or facts about them.
    """

    def __init__(self, store: ObjectStore, received: Callable[[int], object] = lambda count: None) -> None:
        self._store, self._received = store, received
        self.writes = self.reads = 0

    @property
    def url(self) -> str:
        """The URL of the store."""
        return self._store.url

    @property
    def has_conditions(self) -> bool:
        """See `ObjectStore`."""
        return self._store.has_conditions

    def taken(self) -> tuple[int, int]:
        """Return how many requests wrote and read since the last call."""
        found = self.writes, self.reads
        self.writes, self.reads = self.writes - found[0], self.reads - found[1]
        return found

    def put(self, key: str, data: bytes, *, replacing: str = ANY) -> ObjectFacts:
        """See `ObjectStore`."""
        self.writes += 1
        return self._store.put(key, data, replacing=replacing)

    def upload(self, upload: Upload) -> ObjectFacts:
        """See `ObjectStore`."""
        progress = upload.progress

        def counted(count: int) -> None:
            self.writes += 1
            progress(count)

        upload.progress = counted
        try:
            return self._store.upload(upload)
        finally:
            upload.progress = progress

    def read(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, ObjectFacts]:
        """See `ObjectStore`."""
        self.reads += 1
        data, facts = self._store.read(key, start, length)
        self._received(len(data))
        return data, facts

    def stat(self, key: str) -> ObjectFacts | None:
        """See `ObjectStore`."""
        self.reads += 1
        return self._store.stat(key)

    def list(self, prefix: str = "", *, unfinished: bool = False) -> Iterator[ObjectFacts]:
        """See `ObjectStore`."""
        self.writes += 1  # the first page may be empty
        for number, one in enumerate(self._store.list(prefix, unfinished=unfinished)):
            self.writes += number > 0 and number % _PAGE == 0
            yield one

    def delete(self, objects: Iterable[ObjectFacts]) -> None:
        """See `ObjectStore`."""
        found = list(objects)
        self.writes += -(-len(found) // _PAGE)
        self._store.delete(found)
