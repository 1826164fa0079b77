"""The deleted checkpoints whose file was seen to be gone, until the journal says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..record import Record, Status


class GoneFiles:
    """The ids of records whose deletion is complete. What was not written when the process ends is found out again."""

    def __init__(self) -> None:
        self._ids: set[int] = set()

    def note(self, ids: Iterable[int]) -> None:
        """Note that the files of deleted records are gone. The next entry of the journal says so."""
        self._ids.update(ids)

    def unsaid(self, records: Mapping[int, Record]) -> list[int]:
        """Return the noted ids of which the journal, with these records, does not say it yet; forget the others."""
        noted = sorted(self._ids)
        found = [records[id_] for id_ in noted if id_ in records]
        unsaid = [record.id for record in found if record.status is Status.DELETED and not record.absent]
        self._ids.difference_update({*noted}.difference(unsaid))  # another thread may have noted more meanwhile
        return unsaid

    def marked(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records with what has been noted."""
        for record in records:
            is_gone = record.id in self._ids and record.status is Status.DELETED
            yield record.replace(absent=True) if is_gone else record
