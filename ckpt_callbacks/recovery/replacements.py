"""Checkpoints whose file was being replaced by a smaller one when training was killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

from ..errors import Unreadable
from ..policy.contents_order import contents_of
from ..record import Record
from ..store import succession
from ..store.manifest import Manifest
from ..store.replacement import finished, is_in_place, undone
from .repair import Repair


def find_unfinished_replacements(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair for each of them: the bytes on the disk say which of the two files is there.

    While they cannot be read, both files count as good.
    """
    for record in list(manifest.records.values()):
        if succession.predecessor(record) is not None:
            with contextlib.suppress(Unreadable):
                yield _deletion(manifest, record, is_lost=succession.has_only_predecessor(record))
        elif succession.successor(record) is not None and record.status.on_disk:
            with contextlib.suppress(OSError):
                yield _succession(manifest, record, succession.is_in_place(record))
        elif record.replacement and record.status.on_disk:
            with contextlib.suppress(OSError):
                yield _repair(manifest, record, is_in_place(record))


def _deletion(manifest: Manifest, record: Record, *, is_lost: bool) -> Repair:
    finish = partial(succession.finish, manifest, record.id)
    if is_lost:
        problem = f"{record.file}: {_now(record)} is not whole, and {_before(record)} is still there"
        return Repair(problem, f"undone, so that the checkpoint is {_before(record)}", finish)
    how = "compressed" if record.compressed else "split" if record.shards else "joined again"
    return Repair(f"{record.file}: {_before(record)} was not deleted after it was {how}", "finished", finish)


def _succession(manifest: Manifest, record: Record, is_new: bool) -> Repair:
    new = succession.successor(record)
    assert new is not None
    how = "compressed" if new.compressed else "split into shards" if new.shards else "joined to one file"
    problem = f"{record.file}: was being {how}"
    if not is_new:
        undo = partial(manifest.amend, record.id, lambda now: undone() if now.replacement else {})
        return Repair(problem, f"undone, because {_now(new)} is not in place", undo, changes_only_records=True)

    def do() -> None:
        manifest.amend(record.id, lambda now: succession.succeeded(now) if succession.successor(now) else {})
        succession.finish(manifest, record.id)

    return Repair(problem, f"finished, because {_now(new)} is in place", do)


def _now(record: Record) -> str:
    """Return what a checkpoint consists of."""
    return (
        "the compressed file" if record.compressed else "the folder of shards" if record.shards else "the native file"
    )


def _before(record: Record) -> str:
    """Return what a checkpoint consisted of before its form was changed."""
    old = succession.predecessor(record)
    assert old is not None
    return _now(old)


def _repair(manifest: Manifest, record: Record, is_new: bool | None) -> Repair:
    def change(facts_of: Callable[[Record], dict[str, object]]) -> Callable[[], object]:
        return lambda: manifest.amend(record.id, lambda now: facts_of(now) if now.replacement else {})

    problem = f"{record.file}: was being replaced by a smaller file ({_contents(record)})"
    if is_new:
        finish, remedy = change(finished), "finished, because the new file is in place"
        return Repair(problem, remedy, finish, changes_only_records=True)
    undo, remedy = change(lambda now: undone()), "undone, because the new file is not in place"
    return Repair(problem, remedy, undo, changes_only_records=True)


def _contents(record: Record) -> str:
    new = record.replacement
    return str(contents_of(new.get("contents", "weights"), new.get("reduced", {})))
