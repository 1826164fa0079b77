"""Checkpoints whose file was being replaced by a smaller one when training was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..record import Record
from ..store.manifest import Manifest
from ..store.replacement import finished, is_in_place, undone
from .repair import Repair


def find_unfinished_replacements(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair for each of them: the bytes on the disk say which of the two files is there."""
    for record in manifest.live():
        if record.replacement:
            yield _repair(manifest, record)


def _repair(manifest: Manifest, record: Record) -> Repair:
    def change(facts_of: Callable[[Record], dict[str, object]]) -> Callable[[], object]:
        return lambda: manifest.amend(record.id, facts_of)

    problem = f"{record.file}: was being replaced by its {record.replacement.get('contents', 'weights')} alone"
    try:
        is_new = is_in_place(record)
    except OSError:
        is_new = None  # what follows says what is wrong with the file
    if is_new:
        finish, remedy = change(finished), "finished, because the new file is in place"
        return Repair(problem, remedy, finish, changes_only_records=True)
    undo, remedy = change(lambda now: undone()), "undone, because the new file is not in place"
    return Repair(problem, remedy, undo, changes_only_records=True)
