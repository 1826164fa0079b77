"""Objects in a bucket or a model repository of the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from ..errors import MirrorDamaged, MirrorError, printable
from .hub import Hub
from .hub_bucket import HubBucket
from .hub_repository import HubRepository
from .names import check_key
from .object_store import ANY, ObjectFacts
from .parts import Pieces
from .secrets import without_user
from .upload import Upload

_URL = re.compile(r"hf://(?P<kind>buckets|models)/(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<prefix>.*))?")
_AT_ONCE = 500  # files that are deleted in one request


class HubStore:
    """Objects in a bucket, which is for runs, or in a repository, which is for publishing (see `ObjectStore`).

    An upload that was interrupted starts again: the Hub's storage leaves out only what finished ones have brought. An
    object's version is the hash of its bytes. The Hub limits how many commits an hour a repository takes; a bucket has
    none.

    Args:
        url: ``hf://buckets/namespace/name/prefix`` or ``hf://models/namespace/name/prefix``.
        options: ``token``, ``endpoint`` and ``revision``.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url = printable(without_user(url)).rstrip("/")
        found = _URL.fullmatch(self.url)
        if found is None:
            raise MirrorError(f"{self.url}: expected hf://buckets/namespace/name or hf://models/namespace/name")
        prefix = (found["prefix"] or "").strip("/")
        self._prefix, self._hub = f"{prefix}/" if prefix else "", Hub(self.url, dict(options or {}))
        kind = HubBucket if found["kind"] == "buckets" else HubRepository
        self._place: HubBucket | HubRepository = kind(self._hub, found["name"])
        self.has_conditions = self._place.has_conditions

    def put(self, key: str, data: bytes, *, replacing: str = ANY) -> ObjectFacts:
        """See `ObjectStore`."""
        with self._spoken(key):
            return replace(self._place.put(self._path(key), data, replacing), key=key)

    def upload(self, upload: Upload) -> ObjectFacts:
        """See `ObjectStore`. The parts go one after the other; the Hub's client sends several blocks at a time."""
        pieces = Pieces(upload)
        with pieces.sending(), self._spoken(upload.key):
            found = self._place.upload(self._path(upload.key), pieces.of())
        if found.size != upload.size:
            raise MirrorDamaged(f"{self._where(upload.key)}: has {found.size} bytes; expected {upload.size}")
        return replace(found, key=upload.key)

    def read(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, ObjectFacts]:
        """See `ObjectStore`."""
        with self._spoken(key):
            found = self._find(key)
            try:
                if found is not None:
                    count = max(0, min(found.size - start, found.size if length is None else length))
                    return (self._place.read(self._path(key), start, count) if count else b""), found
            except FileNotFoundError:
                pass
        raise FileNotFoundError(f"{self._where(key)}: there is no such object")

    def stat(self, key: str) -> ObjectFacts | None:
        """See `ObjectStore`. The Hub tells the SHA-256 of large files in repositories."""
        with self._spoken(key):
            return self._find(key)

    def _find(self, key: str) -> ObjectFacts | None:
        found = self._place.find([self._path(key)])
        return replace(found[0], key=key) if found else None

    def list(self, prefix: str = "", *, unfinished: bool = False) -> Iterator[ObjectFacts]:
        """See `ObjectStore`. The Hub keeps no uploads that are not finished."""
        if unfinished:
            return
        whole = self._prefix + prefix
        with self._spoken(prefix):
            found = [each for each in self._place.list(whole.rpartition("/")[0]) if each.key.startswith(whole)]
        for each in sorted(found, key=lambda facts: facts.key):
            key = each.key[len(self._prefix) :]
            if not any(name.startswith(".") for name in key.split("/")):  # .gitattributes
                yield replace(each, key=key)

    def delete(self, objects: Iterable[ObjectFacts]) -> None:
        """See `ObjectStore`."""
        keys = iter(dict.fromkeys(each.key for each in objects))
        while some := list(islice(keys, _AT_ONCE)):
            with self._spoken(some[0]):
                self._place.delete([self._path(key) for key in some])

    def _path(self, key: str) -> str:
        return self._prefix + "/".join(check_key(self.url, key))

    def _where(self, key: str) -> str:
        return f"{self.url}/{printable(key)}" if key else self.url

    @contextmanager
    def _spoken(self, key: str) -> Iterator[None]:
        """Raise the errors of the Hub's client as those of a mirror."""
        try:
            yield
        except MirrorError as error:
            if str(error).startswith(self.url):
                raise error from None
            raise type(error)(f"{self._where(key)}: {error}") from None
        except Exception as error:
            raise self._hub.problem(self._where(key), error) from None
