"""The reconstruction of a lost or truncated manifest from the records that checkpoints contain."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from ..errors import VerifyError
from ..formats import format_of
from ..record import Attempt, Record, Status
from ..store.aliases import pointed_at
from ..store.digest import Progress, digest
from ..store.manifest import Manifest
from ..store.rehearsal import Rehearsal
from .lineage import supersede, wrongly_marked
from .repair import Repair
from .unnamed import unnamed_paths

_PIECE = 1 << 20  # bytes that are read at a time
REBUILT = "rebuilt"  # the fact that marks an attempt that a rebuild recorded, not a training run


def find_unlisted(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair for each checkpoint that the manifest does not list, oldest first.

    If the manifest lists training runs, only the checkpoints of these runs and the targets of `last`, `best` and
    `final` are restored, because others were copied from somewhere else. A file that repeats a listed record is a copy.
    Other files, and unreadable ones, are skipped. The link `final` says which of them is final. Other facts that became
    known only after a file was written are not restored: its tags, and that a search has found NaN in its weights.
    """
    final = pointed_at(manifest.layout.dirpath, ("final",))
    known = {(record.run, record.id) for record in manifest.records.values()}
    found: list[Record] = []
    for record in sorted(
        filter(None, map(_record, unnamed_paths(manifest))), key=lambda r: (r.id, _changed_at(r.path), r.file)
    ):
        if (record.run, record.id) not in known:
            known.add((record.run, record.id))
            found.append(record.replace(final=record.final or record.file in final))
    found = _without_moved(manifest, found)
    if not _being_rebuilt(manifest):
        linked = pointed_at(manifest.layout.dirpath)
        runs = {attempt.run for attempt in manifest.attempts} | {r.run for r in found if r.file in linked}
        found = [record for record in found if record.run in runs]
    for record in found:
        yield Repair(
            f"{record.file}: is not in the manifest",
            "restored from its embedded record",
            partial(_enter, manifest, record),
            changes_only_records=True,
        )
    rebuilt = Rehearsal(manifest)
    for record in found:
        _list(rebuilt, record)
    # This also covers a crash between the entries and this one.
    if rebuilt.live() and (found or _being_rebuilt(manifest)):
        for record in wrongly_marked(rebuilt, *_newest(rebuilt)):
            yield Repair(
                f"{record.file}: is marked as superseded, but no later resume began before it"
                if record.superseded
                else f"{record.file}: a later start resumed from an older checkpoint",
                "marked as current" if record.superseded else "marked as superseded",
                lambda: _supersede(manifest),  # marks all of them
                changes_only_records=True,
            )


def _without_moved(manifest: Manifest, found: Iterable[Record]) -> list[Record]:
    """Return the records that the history does not hold."""
    moved = {(r.run, r.id) for r in manifest.history.search("id", {record.id for record in found})}
    return [record for record in found if (record.run, record.id) not in moved]


def _being_rebuilt(manifest: Manifest) -> bool:
    """Return whether only a rebuild, perhaps an interrupted one, has written to the manifest since its loss."""
    return all(attempt.facts.get(REBUILT) for attempt in manifest.attempts)


def _record(path: Path) -> Record | None:
    """Return the record that a file contains; None if it is not an intact checkpoint of this package."""
    form = format_of(path)
    try:
        if form is None or (facts := form.facts(path)) is None:
            return None
        form.check(path, ())
        if not has_valid_checksums(path):
            return None
        record = Record.from_json(facts["record"], str(path.parent))
        if type(record.id) is not int or record.id < 1 or not isinstance(record.run, str):
            return None
        return record.replace(file=path.name)
    except (VerifyError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _changed_at(path: Path) -> int:
    """Return when a file was changed, in nanoseconds; 0 if a training run has deleted it meanwhile."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def has_valid_checksums(path: Path, progress: Progress | None = None) -> bool:
    """Return whether the checksums of a zip archive match; any other file has none.

    Without the lost digest, nothing else reveals a flipped bit.

    Args:
        path: The file.
        progress: As in `digest`.
    """
    if not path.is_file() or not zipfile.is_zipfile(path):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:  # which compares the checksum at its end
                    while piece := member.read(_PIECE):
                        if progress is not None:
                            progress(len(piece))
        return True
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
        return False


def _enter(manifest: Manifest, record: Record) -> None:
    found, size = digest(record.path)
    _list(manifest, record.replace(digest=found, size=size))


def _list(manifest: Manifest, record: Record) -> None:
    if record.id in manifest.records:
        record = record.replace(id=manifest.next_id)
    if not any((a.run, a.number) == (record.run, record.attempt) for a in manifest.attempts):
        manifest.start(Attempt(record.run, record.attempt, record.parent, record.wall, {REBUILT: True}))
    manifest.put(record.replace(status=Status.VERIFIED))


def _supersede(manifest: Manifest) -> None:
    supersede(manifest, *_newest(manifest))


def _newest(manifest: Manifest) -> tuple[str, int]:
    """Return the run and the attempt of the newest checkpoint."""
    newest = max(manifest.live(), key=lambda record: record.id)
    return newest.run, max((a.number for a in manifest.attempts if a.run == newest.run), default=newest.attempt)
