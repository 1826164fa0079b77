"""The content of a mirror, as any reader sees it."""

from __future__ import annotations

from dataclasses import replace

from ..errors import MirrorError
from ..remote.object_store import ObjectStore
from .catalog import Catalog, Entry, is_newer
from .keys import CATALOG, ENTRIES, number_of


def read_catalog(store: ObjectStore) -> tuple[Catalog | None, str]:
    """Return the catalog of a mirror with the entries that it lacks so far, and the version of the object.

    This takes two requests, and one more for each of these entries. Entries of a process that had lost the right to
    write do not count. If the catalog is lost or damaged, all entries count.

    Args:
        store: The store.

    Returns:
        The catalog, and its version; None and an empty text if the store holds no mirror.

    Raises:
        MirrorError: It cannot be read, or a newer version of this package has written it.
    """
    catalog, version, problem = None, "", None
    try:
        data, facts = store.read(CATALOG)
    except FileNotFoundError:
        pass
    else:
        version = facts.version
        try:
            catalog = Catalog.from_bytes(data, f"{store.url}/{CATALOG}")
        except MirrorError as error:
            if is_newer(data):
                raise
            problem = error  # if there are entries, it is a catalog, and is damaged
    found, highest = [], 0
    for listed in store.list(ENTRIES):
        number = number_of(listed.key)
        if number is None:
            continue
        if catalog is not None and number <= catalog.number:
            break
        highest = max(highest, number)
        try:
            data, _ = store.read(listed.key)
        except FileNotFoundError:  # deleted meanwhile
            continue
        found.append(Entry.from_bytes(data, f"{store.url}/{listed.key}"))
    if catalog is None:
        if not found and problem is not None:
            raise problem
        if not found:
            return None, version
        catalog = Catalog(writer="")  # it is lost; the entries count
    counting = [entry for entry in found if catalog.writer in ("", entry.writer)]
    return replace(catalog, number=max(catalog.number, highest)).with_entries(counting), version
