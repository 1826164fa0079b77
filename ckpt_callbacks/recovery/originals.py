"""The files of a directory that the frameworks' own callbacks wrote, and what they say about each other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import Unreadable, VerifyError
from ..formats import format_of
from ..formats.original import Original
from ..formats.torch.format import TORCH
from ..record import CALLED, Record, Status
from ..store.identity import identity, require_same
from ..store.layout import is_run_dir
from ..store.manifest import Manifest
from .rebuild import has_valid_checksums


@dataclass(frozen=True)
class FoundOriginal:
    """One of these files.

    Attributes:
        path: The file.
        name: Its name in the directory, which may contain folders.
        facts: What it says about the training.
        identity: Tells it from any other file that takes its name.
        changed_at: When it was written, in nanoseconds since 1970.
        replaced: The record of the checkpoint in whose place it is, which still counts.
    """

    path: Path
    name: str
    facts: Original
    identity: str
    changed_at: int
    replaced: Record | None = None


def originals_in(manifest: Manifest, *, thoroughly: bool, left: list[str]) -> list[FoundOriginal]:
    """Return the files that no record describes, in the order in which training wrote them.

    That is the order of their steps, because a copy may have lost the times; files of one step are ordered by time.

    Args:
        manifest: The directory's manifest.
        thoroughly: Whether to compare the files with their checksums, and to look as well for files that have taken the
            place of a checkpoint.
        left: Receives one line for each file that looks like one of these, and cannot be read.
    """
    found, unreadable = [], dict[str, str]()
    for path, replaced in _unknown(manifest, thoroughly):
        form = format_of(path)
        if form is None or form.original is None:
            continue
        before, name = identity(path), path.relative_to(manifest.layout.dirpath).as_posix()
        try:
            facts = form.original(path)
            if thoroughly and not has_valid_checksums(path):
                raise VerifyError(f"{path}: its checksums do not match")
            if facts is not None:  # otherwise, it is something else, or a checkpoint of this package
                found.append(FoundOriginal(path, name, facts, before, path.stat().st_mtime_ns, replaced))
        except VerifyError as error:
            unreadable[name] = f"{error}; left alone"
        except OSError as error:
            unreadable[name] = f"{path}: cannot be read: {error.strerror or error}; left alone"
    known = frozenset[str]().union(*(one.facts.names for one in found))

    def is_here(name: str) -> bool:
        return "/" not in name or name in known  # others are of another directory

    left.extend(line for name, line in unreadable.items() if is_here(name))
    here = [one for one in found if is_here(one.name)]
    return sorted(here, key=lambda one: (one.facts.step, one.facts.epoch, one.changed_at, one.name))


def hint_to_adopt(manifest: Manifest) -> str:
    """Return what to do in a folder without a manifest, if a framework's own callback has saved in it; else nothing."""
    found = originals_in(manifest, thoroughly=False, left=[])
    folder = manifest.layout.dirpath
    return (
        f"`ckpt adopt {folder}` makes it one, with a record for each file of {CALLED[found[0].facts.framework]}"
        if found
        else ""
    )


def metrics_of(one: FoundOriginal, steps: Mapping[str, int], found: Sequence[FoundOriginal]) -> dict[str, float]:
    """Return the metrics that were measured at the weights of a file.

    Its own ranking may be that of an earlier step, as in a file that was saved because it is the last one. So it counts
    only for what it says of a file of the same step. A file without a ranking is looked up in those of later files.

    Args:
        one: The file.
        steps: The step of each checkpoint in the directory, by name.
        found: All files, in the order of their steps.
    """
    metrics = dict[str, float]()
    for ranking in one.facts.rankings:
        for name, score in ranking.scores.items():
            if steps.get(name) == one.facts.step:
                metrics[ranking.metric] = score
    if not one.facts.has_rankings:
        for ranking in (r for later in found if later.facts.step >= one.facts.step for r in later.facts.rankings):
            if one.name in ranking.scores:
                metrics[ranking.metric] = ranking.scores[one.name]
    return metrics


def _unknown(manifest: Manifest, thoroughly: bool) -> Iterator[tuple[Path, Record | None]]:
    """Yield each file that no record describes, and the record of the checkpoint in whose place it is, if any."""
    dirpath, records = manifest.layout.dirpath, list(manifest.records.values())
    live = {record.file: record for record in manifest.live()}
    unfinished = {r.file for r in records if r.status in (Status.WRITING, Status.DELETED) and not r.absent}
    for path in [dirpath / name for name in sorted(os.listdir(dirpath))] if dirpath.is_dir() else ():
        for file in (path, *(_below(path) if thoroughly else ())):
            name = file.relative_to(dirpath).as_posix()
            record = live.get(name)
            if name.startswith(".") or file.is_symlink() or (record is None and name in unfinished):
                continue
            if record is None or (thoroughly and _is_replaced(record)):
                yield file, record


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files of Lightning in a folder, which ModelCheckpoint makes for a metric such as ``val/loss``."""
    if folder.is_dir() and not (folder.is_symlink() or format_of(folder) or is_run_dir(folder)):
        yield from sorted(path for path in folder.glob(f"*{TORCH.suffix}") if path.is_file())


def _is_replaced(record: Record) -> bool:
    try:
        require_same(record)
    except Unreadable:
        return False
    except VerifyError:
        return True
    return False
