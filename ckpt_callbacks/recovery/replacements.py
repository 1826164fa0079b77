"""Checkpoints whose file was being replaced by a smaller one when training was killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ..record import Record
from ..store.manifest import Manifest
from ..store.replacement import finished, is_in_place, undone
from .repair import Repair


def find_unfinished_replacements(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair for each of them: the bytes on the disk say which of the two files is there.

    While they cannot be read, both files count as good.
    """
    for record in manifest.live():
        if record.replacement:
            with contextlib.suppress(OSError):
                yield _repair(manifest, record, is_in_place(record))


def _repair(manifest: Manifest, record: Record, is_new: bool | None) -> Repair:
    def change(facts_of: Callable[[Record], dict[str, object]]) -> Callable[[], object]:
        return lambda: manifest.amend(record.id, lambda now: facts_of(now) if now.replacement else {})

    problem = f"{record.file}: was being replaced by its {record.replacement.get('contents', 'weights')} alone"
    if is_new:
        finish, remedy = change(finished), "finished, because the new file is in place"
        return Repair(problem, remedy, finish, changes_only_records=True)
    undo, remedy = change(lambda now: undone()), "undone, because the new file is not in place"
    return Repair(problem, remedy, undo, changes_only_records=True)
