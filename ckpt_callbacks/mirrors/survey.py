"""All objects of a mirror, and the entries that say which of them count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import MirrorError, first_line
from ..remote.object_store import ObjectFacts, ObjectStore
from .catalog import Catalog, Entry
from .keys import CATALOG, CHECKPOINTS, ENTRIES, entry_key, number_of


@dataclass(frozen=True)
class Survey:
    """What a mirror holds.

    Attributes:
        catalog: The entries that count.
        is_lost: Whether there is no catalog object, so that all entries count.
        listed: The highest number that the catalog object knows of.
        data: The objects with bytes of checkpoints, by key.
        entries: The objects with entries, by number.
        idle: The entries among them that do not count, by number.
        unreadable: Why an entry among them cannot be read, by number.
        uploads: The uploads that are not finished.
    """

    catalog: Catalog
    is_lost: bool
    listed: int
    data: Mapping[str, ObjectFacts]
    entries: Mapping[int, ObjectFacts]
    idle: Mapping[int, Entry] = field(default_factory=dict)
    unreadable: Mapping[int, str] = field(default_factory=dict)
    uploads: Sequence[ObjectFacts] = ()

    @property
    def named(self) -> set[str]:
        """The keys of the objects that count, or that hold bytes of what counts."""
        return names(self.catalog.entries)


def names(entries: Iterable[Entry]) -> set[str]:
    """Return the keys of entries, and those of the objects with their bytes."""
    found = list(entries)
    return {part.key for entry in found for part in entry.parts} | {entry_key(entry.number) for entry in found}


def survey(store: ObjectStore) -> Survey:
    """List a mirror. The objects are listed before the entries are read, so that none seems to have no name.

    Raises:
        MirrorError: It cannot be read, a newer version of this package has written it, or there is no mirror.
    """
    uploads = [one for prefix in (CHECKPOINTS, ENTRIES) for one in store.list(prefix, unfinished=True)]
    data = {one.key: one for one in store.list(CHECKPOINTS)}
    listed = {number: one for one in store.list(ENTRIES) if (number := number_of(one.key)) is not None}
    catalog, read = None, dict[int, Entry]()
    try:
        catalog = Catalog.from_bytes(store.read(CATALOG)[0], f"{store.url}/{CATALOG}")
    except FileNotFoundError:
        if not listed:
            raise MirrorError(f"{store.url}: holds no mirror; expected the place to which a run was sent") from None
    counting = {entry.number for entry in catalog.entries} if catalog is not None else set()
    unreadable: dict[int, str] = {}
    for number, one in listed.items():
        if number in counting:
            continue
        try:
            read[number] = Entry.from_bytes(store.read(one.key)[0], f"{store.url}/{one.key}")
        except FileNotFoundError:  # deleted meanwhile
            continue
        except MirrorError as error:
            unreadable[number] = first_line(error)
    known = catalog if catalog is not None else Catalog(writer="")
    later = [entry for entry in read.values() if entry.number > known.number and known.writer in ("", entry.writer)]
    idle = {number: entry for number, entry in read.items() if entry not in later}
    return Survey(known.with_entries(later), catalog is None, known.number, data, listed, idle, unreadable, uploads)
