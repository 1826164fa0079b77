"""A store whose requests are tried again while it does not answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from secrets import randbelow
from typing import TypeVar

from ..errors import MirrorConflict, MirrorUnreachable
from .object_store import ANY, ObjectFacts, ObjectStore
from .upload import Upload

_T = TypeVar("_T")
_WHOLE = 2  # how often all bytes of a file may arrive, and its upload still fail at the end, before that is a failure


def _is_of_others(record: logging.LogRecord) -> bool:
    return not getattr(record, "stamina.caused_by", "").startswith(f"{MirrorUnreachable.__name__}(")


# It would log a warning for each attempt, and an outage gets one line.
logging.getLogger("stamina").addFilter(_is_of_others)


class Retried:
    """Sends each request to a store again, after waits that grow and vary, for a while.

    Args:
        store: The store, each of whose methods makes one attempt.
        seconds: How long it keeps trying.
        go_on: Called before each attempt; it may raise an exception to end this.

    Attributes:
        failure: Why the last attempt has failed; None if the store has answered since.
    """

    def __init__(self, store: ObjectStore, seconds: float = 60.0, go_on: Callable[[], object] = lambda: None) -> None:
        self._store, self._seconds, self._go_on = store, seconds, go_on
        self.failure: MirrorUnreachable | None = None

    @property
    def url(self) -> str:
        """The URL of the store."""
        return self._store.url

    @property
    def has_conditions(self) -> bool:
        """See `ObjectStore`."""
        return self._store.has_conditions

    def put(self, key: str, data: bytes, *, replacing: str = ANY) -> ObjectFacts:
        """See `ObjectStore`. A lost answer to an attempt that was carried out is no conflict."""
        tries = 0

        def attempt() -> ObjectFacts:
            nonlocal tries
            tries += 1
            try:
                return self._store.put(key, data, replacing=replacing)
            except MirrorConflict:
                if tries == 1:
                    raise
                found, facts = self._store.read(key)
                if found != data:
                    raise
                return facts

        return self._again(attempt)

    def upload(self, upload: Upload) -> ObjectFacts:
        """See `ObjectStore`. Each attempt continues the one before.

        One attempt may take hours, so what counts is the time since the last attempt in which something has arrived.
        """
        progress, arrived, before = upload.progress, list[int](), 0

        def counted(count: int) -> None:
            arrived.append(count)
            progress(count)

        upload.progress = counted
        try:
            while True:
                try:
                    return self._again(lambda: self._store.upload(upload))
                except MirrorUnreachable:
                    if not before < sum(arrived) <= _WHOLE * upload.size:
                        raise
                    before = sum(arrived)
        finally:
            upload.progress = progress

    def read(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, ObjectFacts]:
        """See `ObjectStore`."""
        return self._again(lambda: self._store.read(key, start, length))

    def stat(self, key: str) -> ObjectFacts | None:
        """See `ObjectStore`."""
        return self._again(lambda: self._store.stat(key))

    def list(self, prefix: str = "", *, unfinished: bool = False) -> Iterator[ObjectFacts]:
        """See `ObjectStore`. Once something was yielded, a failure is not tried again."""
        listed = self._again(lambda: _begun(self._store.list(prefix, unfinished=unfinished)))
        if listed is not None:
            first, rest = listed
            yield first
            yield from rest

    def delete(self, objects: Iterable[ObjectFacts]) -> None:
        """See `ObjectStore`."""
        found = list(objects)
        self._again(lambda: self._store.delete(found))

    def _again(self, attempt: Callable[[], _T]) -> _T:
        import stamina  # here, because importing it is slow, and most runs have no mirror

        # stamina's own variation would come from the generator of the training script.
        first = 0.2 + randbelow(1000) / 1000
        for one in stamina.retry_context(
            on=MirrorUnreachable, attempts=None, timeout=self._seconds, wait_initial=first, wait_max=15.0, wait_jitter=0
        ):
            with one:
                self._go_on()
                try:
                    found = attempt()
                except MirrorUnreachable as error:
                    self.failure = error
                    raise
                self.failure = None
                return found
        raise AssertionError  # the last attempt raises


def _begun(listed: Iterator[ObjectFacts]) -> tuple[ObjectFacts, Iterator[ObjectFacts]] | None:
    """Return the first of some objects and the others; None if there are none."""
    first = next(listed, None)
    return None if first is None else (first, listed)
