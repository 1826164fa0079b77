"""A manifest that was lost, or cut short, is rebuilt from what the checkpoints themselves say."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ..errors import VerifyError
from ..formats import format_of
from ..record import Attempt, Record, Status
from ..store.aliases import pointed_at
from ..store.digest import digest
from ..store.manifest import Manifest
from .lineage import misjudged, supersede
from .repair import Repair

REBUILT = "rebuilt"  # the fact by which a start is known that no training told of


def lost(manifest: Manifest) -> Iterator[Repair]:
    """Checkpoints of ours that the manifest does not name, oldest first; each is entered again.

    Where the manifest knows of trainings, only checkpoints of their runs, and those that our links point to, count as
    ours: others were brought from somewhere else. A file that repeats a record that is known is somebody's copy.
    Files of others, and those that cannot be read, are passed over. Facts that came after a file was written are not
    in it: tags, and that it was the final one.
    """
    known = {(record.run, record.id) for record in manifest.records.values()}
    found: list[Record] = []
    for record in sorted(_unnamed(manifest), key=lambda r: (r.id, r.path.stat().st_mtime_ns, r.file)):
        if (record.run, record.id) not in known:
            known.add((record.run, record.id))
            found.append(record)
    if not _being_rebuilt(manifest):
        linked = pointed_at(manifest.layout.dirpath)
        runs = {attempt.run for attempt in manifest.attempts} | {r.run for r in found if r.file in linked}
        found = [record for record in found if record.run in runs]
    for record in found:
        yield Repair(
            f"{record.file}: the manifest did not name it; it is entered again from what it says of itself",
            partial(_enter, manifest, record),
        )
    # Also where a crash came between the entries and this.
    if found or (_being_rebuilt(manifest) and manifest.live() and misjudged(manifest, *_newest(manifest))):
        yield Repair("what a later attempt went back behind is marked again", lambda: _supersede(manifest))


def _being_rebuilt(manifest: Manifest) -> bool:
    """No training has told the manifest anything since it was lost, so that its rebuilding may have been cut off."""
    return all(attempt.facts.get(REBUILT) for attempt in manifest.attempts)


def _unnamed(manifest: Manifest) -> Iterator[Record]:
    dirpath = manifest.layout.dirpath
    named = {record.file for record in manifest.records.values()}
    for path in dirpath.iterdir() if dirpath.is_dir() else ():
        if path.name not in named and not path.is_symlink() and (path.is_file() or path.is_dir()):
            record = _record(path)
            if record is not None:
                yield record


def _record(path: Path) -> Record | None:
    """What a file says of itself; None where it is no checkpoint of ours, or not a whole one."""
    form = format_of(path)
    try:
        if form is None or (facts := form.facts(path)) is None:
            return None
        form.check(path, ())
        if not _has_sound_sums(path):
            return None
        record = Record.from_json(facts["record"], str(path.parent))
        if type(record.id) is not int or record.id < 1 or not isinstance(record.run, str):
            return None
        return record.replace(file=path.name)
    except (VerifyError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _has_sound_sums(path: Path) -> bool:
    """The check sums of a zip archive hold: all that is left to notice a flipped bit by, when its digest is lost."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
        return False


def _enter(manifest: Manifest, record: Record) -> None:
    found, size = digest(record.path)
    if record.id in manifest.records:
        record = record.replace(id=manifest.next_id)
    if not any((a.run, a.number) == (record.run, record.attempt) for a in manifest.attempts):
        manifest.start(Attempt(record.run, record.attempt, record.parent, record.wall, {REBUILT: True}))
    manifest.put(record.replace(digest=found, size=size, status=Status.VERIFIED))


def _supersede(manifest: Manifest) -> None:
    supersede(manifest, *_newest(manifest))


def _newest(manifest: Manifest) -> tuple[str, int]:
    """The run and the attempt of the newest checkpoint."""
    newest = max(manifest.live(), key=lambda record: record.id)
    return newest.run, max((a.number for a in manifest.attempts if a.run == newest.run), default=newest.attempt)
