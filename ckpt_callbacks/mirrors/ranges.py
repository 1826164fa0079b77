"""The bytes of one object of a mirror, several ranges of which are read at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import VerifyError
from ..remote.object_store import ObjectStore
from ..remote.parallel import in_parallel
from ..store.digest import StreamDigest
from .catalog import Part

_THREADS = 4
RANGE = 8 << 20  # bytes; a client holds some of the ranges twice while it receives them


def digest_of(store: ObjectStore, part: Part, where: str, write: Callable[[bytes], object] = lambda data: None) -> str:
    """Return the digest of an object.

    Args:
        store: As in `ranges`.
        part: As in `ranges`.
        where: As in `ranges`.
        write: Called with the bytes of each range, in order.

    Raises:
        MirrorError: As `ranges` does.
        VerifyError: As `ranges` does.
    """
    hasher = StreamDigest()
    for data in ranges(store, part, where):
        hasher.update(data)
        write(data)
    return hasher.name


def ranges(store: ObjectStore, part: Part, where: str) -> Iterator[bytes]:
    """Yield all bytes of an object, in order, and no more than a few ranges ahead of the caller.

    Args:
        store: The store.
        part: The object, as the catalog describes it.
        where: What a message begins with.

    Raises:
        MirrorError: The store does not give them.
        VerifyError: The object is gone, or has another size.
    """
    size = 0

    def read(number: int) -> bytes:
        return store.read(part.key, number * RANGE, min(RANGE, part.size - number * RANGE))[0]

    try:
        for data in in_parallel(read, range(-(-part.size // RANGE)), _THREADS):
            size += len(data)
            yield data
    except FileNotFoundError:
        raise VerifyError(f"{where}: is gone, although the catalog lists it") from None
    if size != part.size:
        raise VerifyError(f"{where}: has {size} bytes; the catalog says {part.size}")
