"""The objects below one prefix of a bucket, through `obstore`."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import obstore

from ..errors import MirrorConflict, MirrorError, MirrorUnreachable
from .names import check_key
from .object_store import ANY, ObjectFacts
from .refusals import Answer, refusal, unreachable
from .secrets import scrubbed, without_user

CONNECTING: Final = 10  # seconds
WAITING: Final = 60  # seconds without any progress
# Whoever calls a store tries again: a client that repeats a conditional write would lose against itself.
RETRIES: Final[dict[str, Any]] = {"max_retries": 0, "retry_timeout": timedelta(seconds=WAITING)}
# The time limit of a whole request is long, because a slow connection may need it for one piece of a large object.
CLIENT: Final = {
    "connect_timeout": f"{CONNECTING}s",
    "read_timeout": f"{WAITING}s",
    "timeout": "1h",
    "pool_idle_timeout": "15s",
}
_Found = TypeVar("_Found")
_URL = re.compile(r"[a-z0-9]+://(?P<bucket>[^/]*)(?P<prefix>/.*)?", re.S)
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]*")
_OPEN = 5  # requests, each of which may find another connection closed
_AT_ONCE = 1.0  # seconds
_LONGEST = 1024  # bytes of a name, with its prefix
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(.*?)</Code>|\"reason\": ?\"(.*?)\"", re.S)
_TEXT = re.compile(r"<Message>(.*?)</Message>|\"message\": ?\"(.*?)\"", re.S)
_NETWORK = re.compile(r"HTTP error: (?!builder)|timed? ?out|connection|error sending request|error decoding", re.I)
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_BEHIND_END = re.compile(r"status code: 416|Wanted range starting at")


class _Lost(MirrorUnreachable):
    """A connection failed, or was closed, before there was an answer."""


class Bucket:
    """The objects below one prefix. What only the store's own SDK can do is left to the store.

    Args:
        url: Such as ``s3://bucket/runs/a``.
        connect: Returns obstore's store of a bucket. It is called at the first use.
        hidden: Values that no message may hold.
        version: Which of obstore's facts is the version of an object: ``e_tag``, or ``version`` for a generation.

    Attributes:
        url: The URL, without user and password.
        name: The name of the bucket.
        root: What the names of all objects begin with; empty, or with a slash at its end.

    Raises:
        MirrorError: The URL lacks a bucket, or has a prefix that cannot be one.
    """

    def __init__(
        self, url: str, connect: Callable[[str], Any], hidden: Mapping[str, Any], version: str = "e_tag"
    ) -> None:
        self.url, self.hidden = without_user(url), dict(hidden)
        found = _URL.fullmatch(url.rstrip("/"))
        if "@" in url or "?" in url or "#" in url:
            raise MirrorError(f"{self.url}: received a user, a query or a fragment; give those in storage_options")
        if found is None or not _BUCKET.fullmatch(found["bucket"]):
            scheme = url.partition(":")[0]
            raise MirrorError(f"{self.url}: the bucket is missing; expected {scheme}://BUCKET/PREFIX")
        self.url = self.url.rstrip("/")
        self.name, prefix = found["bucket"], (found["prefix"] or "").strip("/")
        if prefix:
            check_key(self.url, prefix)
        self.root = f"{prefix}/" if prefix else ""
        self._connect, self._lock, self._engine, self._version = connect, threading.Lock(), None, version

    def path(self, key: str) -> str:
        """Return the name of an object in the bucket.

        Raises:
            MirrorError: No store has objects of such names.
        """
        check_key(self.url, key)
        path = self.root + key
        if len(path.encode()) > _LONGEST:
            raise MirrorError(
                f"{self.url}: {key[:60]!r}... cannot be the name of an object; expected at most {_LONGEST} bytes"
            )
        return path

    def key(self, path: str) -> str | None:
        """Return the key of an object by its name in the bucket; None if it is not one of this package's."""
        key = path[len(self.root) :]
        if not path.startswith(self.root) or any(
            not name or name.startswith(".") or not name.isprintable() for name in key.split("/")
        ):
            return None
        return key

    def put(self, key: str, data: bytes, replacing: str = ANY) -> ObjectFacts:
        """See `ObjectStore`; the version is the ETag."""
        path = self.path(key)
        mode: Any = None if replacing == ANY else {"e_tag": f'"{replacing}"'} if replacing else "create"
        with self.errors(key):
            try:
                done = obstore.put(self._opened(), path, data, mode=mode, use_multipart=False)
            except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
                raise self.conflict(key, replacing) from None
            except FileNotFoundError as error:
                if not replacing or replacing == ANY or _answer(str(error)).code not in ("NoSuchKey", "BlobNotFound"):
                    raise refusal(self.url, _answer(str(error)), self.hidden) from None
                raise self.conflict(key, replacing) from None
        return ObjectFacts(key, len(data), tag(done["e_tag"]))

    def conflict(self, key: str, replacing: str) -> MirrorConflict:
        """Return the error of a condition that was not met."""
        if not replacing:
            return MirrorConflict(f"{self.url}/{key}: exists already")
        there = self._head(key)
        return MirrorConflict(f"{self.url}/{key}: another process has {'deleted' if there is None else 'written'} it")

    def read(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, ObjectFacts]:
        """See `ObjectStore`."""
        path = self.path(key)
        options: dict[str, Any] = {}
        if length is not None:
            options["range"] = (start, start + length)
        elif start:
            options["range"] = {"offset": start}
        found = self._repeated(key, lambda: self._got(key, path, options)) if length != 0 else None
        if found is not None:
            return found
        facts = self._head(key)
        if facts is None:
            raise FileNotFoundError(f"{self.url}/{key}: there is no such object")
        return b"", facts

    def _got(self, key: str, path: str, options: dict[str, Any]) -> tuple[bytes, ObjectFacts] | None:
        """Return bytes of an object, and its facts; None if they would be behind its end."""
        try:
            found = obstore.get(self._opened(), path, options=options)
            return bytes(found.bytes()), self._facts(key, found.meta)
        except obstore.exceptions.BaseError as error:
            if not _BEHIND_END.search(str(error)):
                raise
            return None

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; a missing one is not an error."""
        paths = [self.path(key) for key in keys]
        if not paths:
            return
        with self.errors():
            try:
                obstore.delete(self._opened(), paths)
                return
            except FileNotFoundError:
                pass
            for path in paths:  # one that is missing may have kept the others from being deleted
                try:
                    obstore.delete(self._opened(), path)
                except FileNotFoundError as error:
                    if _answer(str(error)).code in _NO_BUCKET:
                        raise

    @contextmanager
    def errors(self, key: str = "") -> Iterator[None]:
        """Raise errors of obstore as those of a mirror.

        Args:
            key: Of the object that is read or written.
        """
        try:
            yield
        except MirrorError:
            raise
        except FileNotFoundError as error:
            answer = _answer(str(error))
            if answer.code in _NO_BUCKET:
                raise refusal(self.url, answer, self.hidden) from None
            raise FileNotFoundError(f"{self.url}/{key}: there is no such object") from None
        except ValueError as error:
            raise MirrorError(f"{self.url}: {scrubbed(error, self.hidden)}; check storage_options") from None
        except obstore.exceptions.BaseError as error:
            raise self._translated(str(error)) from None

    def _translated(self, text: str) -> MirrorError:
        answer = _answer(text)
        if answer.status and "token request" not in text:
            return refusal(self.url, answer, self.hidden)
        said = text.split("\n\nDebug source", 1)[0].rpartition(" - ")[2]
        if "redirect without LOCATION" in text:  # all that obstore tells of this answer
            return refusal(self.url, Answer(301, "PermanentRedirect"), self.hidden)
        if not answer.status and _NETWORK.search(text):
            return _Lost(str(unreachable(self.url, said, self.hidden)))
        if "token" in text or "redential" in text:
            return MirrorError(f"{self.url}: found no credentials; expected them in the environment or storage_options")
        return MirrorError(f"{self.url}: {scrubbed(said, self.hidden)}; check the URL and storage_options")

    def _head(self, key: str) -> ObjectFacts | None:
        try:
            return self._repeated(key, lambda: self._facts(key, obstore.head(self._opened(), self.path(key))))
        except FileNotFoundError:
            return None

    def _repeated(self, key: str, ask: Callable[[], _Found]) -> _Found:
        """Return what a request brings, which changes nothing. Repeat it if its connection is lost at once.

        After an error, servers close connections that the client still takes for open, and uses again.
        """
        begun, left = time.monotonic(), _OPEN
        while True:
            try:
                with self.errors(key):
                    return ask()
            except _Lost:
                left -= 1
                if not left or time.monotonic() - begun > _AT_ONCE:
                    raise

    def _facts(self, key: str, meta: Mapping[str, Any]) -> ObjectFacts:
        return ObjectFacts(key, meta["size"], tag(meta[self._version]), modified=seconds_of(meta["last_modified"]))

    def _opened(self) -> Any:
        with self._lock:
            if self._engine is None:
                self._engine = self._connect(self.name)
            return self._engine


def tag(etag: str | None) -> str:
    """Return an ETag without its quotes, as versions are spelled."""
    return (etag or "").removeprefix("W/").strip('"')


def seconds_of(moment: datetime | None) -> float:
    """Return a moment in seconds since 1970; 0 if it is not known."""
    return moment.timestamp() if moment is not None else 0.0


def _answer(text: str) -> Answer:
    status, code, said = _STATUS.search(text), _CODE.search(text), _TEXT.search(text)
    return Answer(int(status[1]) if status else 0, _group(code), _group(said))


def _group(found: re.Match[str] | None) -> str:
    """Return what was found in one line, without the number of the request, which nobody here can look up."""
    return " ".join((found[1] or found[2] or "").partition("RequestId:")[0].split()) if found else ""
