"""A store in memory, which a test can let fail at any request."""

import itertools
import threading
import time

from ckpt_callbacks.errors import MirrorConflict, MirrorUnreachable
from ckpt_callbacks.remote.object_store import ANY, ObjectFacts


class MemoryStore:
    """An `ObjectStore` whose objects several `MemoryStore` may share, as processes share a bucket.

    Attributes:
        objects: Bytes and version of each object.
        requests: The name of each request so far, with its key.
        fails: Called with the name and the key of each request, first with ``"before"``, then with ``"after"`` it was
            carried out; may raise.
    """

    has_conditions = True

    def __init__(self, objects=None, url="memory://a"):
        self.objects = {} if objects is None else objects
        self.url, self.requests, self.fails = url, [], lambda when, name, key: None
        self._lock, self._versions = threading.RLock(), itertools.count(time.monotonic_ns())

    def _request(self, name, key, work):
        self.requests.append((name, key))
        self.fails("before", name, key)
        with self._lock:
            found = work()
        self.fails("after", name, key)
        return found

    def _facts(self, key):
        data, version = self.objects[key]
        return ObjectFacts(key, len(data), version)

    def put(self, key, data, *, replacing=ANY):
        def work():
            now = self.objects.get(key, (b"", ""))[1]
            if replacing not in (ANY, now):
                raise MirrorConflict(f"{self.url}/{key}: has version {now}")
            self.objects[key] = bytes(data), str(next(self._versions))
            return self._facts(key)

        return self._request("put", key, work)

    def upload(self, upload):
        parts = []
        for number in range(upload.count):
            upload.before(upload.length(number))
            parts.append(upload.bytes_of(number))
            upload.progress(len(parts[-1]))
        return self._request("upload", upload.key, lambda: self._put(upload.key, b"".join(parts)))

    def _put(self, key, data):
        self.objects[key] = data, str(next(self._versions))
        return self._facts(key)

    def read(self, key, start=0, length=None):
        def work():
            if key not in self.objects:
                raise FileNotFoundError(key)
            return self.objects[key][0][start : None if length is None else start + length], self._facts(key)

        return self._request("read", key, work)

    def stat(self, key):
        return self._request("stat", key, lambda: self._facts(key) if key in self.objects else None)

    def list(self, prefix="", *, unfinished=False):
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        yield from self._request("list", prefix, lambda: [] if unfinished else [self._facts(key) for key in keys])

    def delete(self, objects):
        for one in objects:
            self._request("delete", one.key, lambda one=one: self.objects.pop(one.key, None))


class Failing:
    """A failure at one of the requests to come: as if the answer or the request itself were lost."""

    def __init__(self, at, when, error=MirrorUnreachable("memory://a: does not answer")):
        self.left, self.when, self.error = at, when, error

    def __call__(self, when, name, key):
        if when == self.when:
            self.left -= 1
            if self.left == 0:
                raise self.error
