"""The bytes of a checkpoint in a mirror, read only to compare them with its digest."""

from __future__ import annotations

from ..errors import VerifyError
from ..remote.object_store import ObjectStore
from ..store.digest import StreamDigest
from .catalog import Entry, Part
from .ranges import ranges


def read_back(store: ObjectStore, entry: Entry) -> None:
    """Read all bytes of a checkpoint, several ranges at a time, without a file.

    Raises:
        MirrorError: The store does not give them.
        VerifyError: They are not those that were sent.
    """
    digest = entry.digest_of([_digest(store, part) for part in entry.parts])
    if digest != entry.record.digest:
        raise VerifyError(f"{entry.record.file}: its digest is {digest}; the catalog says {entry.record.digest}")


def _digest(store: ObjectStore, part: Part) -> str:
    hasher = StreamDigest()
    for data in ranges(store, part, part.key):
        hasher.update(data)
    return hasher.name
