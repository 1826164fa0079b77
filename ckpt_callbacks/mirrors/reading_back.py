"""The bytes of a checkpoint in a mirror, read only to compare them with its digest."""

from __future__ import annotations

from ..errors import VerifyError
from ..remote.object_store import ObjectStore
from .catalog import Entry
from .ranges import digest_of


def read_back(store: ObjectStore, entry: Entry) -> None:
    """Read all bytes of a checkpoint, several ranges at a time, without a file.

    Raises:
        MirrorError: The store does not give them.
        VerifyError: They are not those that were sent.
    """
    digest = entry.digest_of([digest_of(store, part, part.key) for part in entry.parts])
    if digest != entry.record.digest:
        raise VerifyError(f"{entry.record.file}: its digest is {digest}; the catalog says {entry.record.digest}")
