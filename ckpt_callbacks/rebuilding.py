"""A manifest that was lost is rebuilt from what the checkpoints themselves say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import VerifyError
from .formats import format_of
from .lineage import supersede
from .record import Record, Status
from .repair import Repair
from .store.digest import digest
from .store.manifest import Attempt, Manifest


def lost(manifest: Manifest) -> Iterator[Repair]:
    """Checkpoints of ours that the manifest does not name, oldest first; each is entered again.

    Files of others, and those that cannot be read, are passed over. Facts that came after a file was written are
    not in it: tags, and that it was the final one.
    """
    found = [(path, facts) for path in _unnamed(manifest) if (facts := _facts(path)) is not None]
    found.sort(key=lambda pair: pair[1]["record"].get("id", 0))
    for path, facts in found:
        yield Repair(
            f"{path.name}: the manifest did not name it; it is entered again from what it says of itself",
            lambda path=path, facts=facts: _enter(manifest, path, facts["record"]),
        )
    if found:
        yield Repair("what a later attempt went back behind is marked again", lambda: _supersede(manifest))


def _unnamed(manifest: Manifest) -> Iterator[Path]:
    dirpath = manifest.layout.dirpath
    named = {record.file for record in manifest.records.values()}
    for path in sorted(dirpath.iterdir()) if dirpath.is_dir() else ():
        if path.name not in named and not path.is_symlink() and path.name != manifest.layout.private.name:
            yield path


def _facts(path: Path) -> Mapping[str, Any] | None:
    form = format_of(path)
    try:
        facts = form.facts(path) if form is not None else None
        if facts is not None:
            form.check(path, ())
        return facts
    except VerifyError:
        return None


def _enter(manifest: Manifest, path: Path, facts: Mapping[str, Any]) -> None:
    record = Record.from_json(facts, str(manifest.layout.dirpath))
    found, size = digest(path)
    if record.id in manifest.records:
        record = record.replace(id=manifest.next_id)
    if not any((a.run, a.number) == (record.run, record.attempt) for a in manifest.attempts):
        manifest.start(Attempt(record.run, record.attempt, record.parent, record.wall, {"rebuilt": True}))
    manifest.put(record.replace(file=path.name, digest=found, size=size, status=Status.VERIFIED))


def _supersede(manifest: Manifest) -> None:
    newest = max(manifest.live(), key=lambda record: record.id)
    attempts = [attempt.number for attempt in manifest.attempts if attempt.run == newest.run]
    supersede(manifest, newest.run, max(attempts))
