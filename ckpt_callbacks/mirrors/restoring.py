"""The way of a checkpoint from a mirror back into a run directory."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CkptError, MirrorError, ResumeError, VerifyError, first_line
from ..policy.metric import Metric
from ..policy.ranking import best_record
from ..record import Record, Status, attempt_framework
from ..remote.object_store import ObjectStore
from ..store.aliases import reader_suffix
from ..store.commit import commit, flush, free_name, remove
from ..store.condition import DAMAGED, condition
from ..store.identity import identity
from ..store.manifest import Manifest
from ..store.private_files import make_folder
from .catalog import Catalog, Entry, Part
from .ownership import unknown_starts
from .ranges import digest_of
from .reading import read_catalog
from .wanted import newest_first

log = logging.getLogger("ckpt_callbacks")


@dataclass(frozen=True)
class Found:
    """A mirror that holds a run.

    Attributes:
        store: Its store.
        catalog: What it holds.
    """

    store: ObjectStore
    catalog: Catalog


def find(stores: Sequence[ObjectStore], framework: str | None = None) -> list[Found]:
    """Return the mirrors that hold a run, in their order.

    Args:
        stores: The stores, the nearest first.
        framework: Whose checkpoints are wanted; None for any.

    Raises:
        ResumeError: One of them cannot be read, and no other one holds a run; or they hold a run of another framework.
    """
    found, problems = [], []
    for store in stores:
        try:
            catalog, _ = read_catalog(store)
        except CkptError as error:
            problems.append(first_line(error))
            continue
        if catalog is not None and catalog.entries:
            written = catalog.framework or next(map(attempt_framework, catalog.attempts), None)
            if framework is not None and written not in (None, framework):
                raise ResumeError(f"{store.url}: holds checkpoints of {written}; expected those of {framework}")
            found.append(Found(store, catalog))
    if problems and not found:
        raise ResumeError(
            f"{'; '.join(problems)}; so it is not known whether there is a run to resume; expected a mirror that "
            "answers, or resume='never' to begin a new run"
        )
    for problem in problems:
        log.warning("%s; the other mirrors are asked", problem)
    return found


def is_ahead(catalog: Catalog, manifest: Manifest) -> bool:
    """Return whether the run of a directory was continued elsewhere, from what the directory holds.

    Args:
        catalog: What a mirror holds.
        manifest: The manifest of the directory.
    """
    further = unknown_starts(catalog.attempts, manifest.attempts)
    is_same = not unknown_starts([a for a in manifest.attempts if a.run in catalog.runs], catalog.attempts)
    newest = max((record.id for record in manifest.live()), default=0)
    usable = newest_first(catalog)
    return bool(further and is_same and usable and usable[0].record.id > newest and further[-1].run in catalog.runs)


def holds_damaged(catalog: Catalog, manifest: Manifest, newest: Record) -> bool:
    """Return whether a mirror holds a checkpoint to resume from that is damaged here, and newer than all others here.

    Args:
        catalog: What the mirror holds.
        manifest: The manifest of the directory.
        newest: The newest intact one here.
    """
    top = next((entry.record for entry in newest_first(catalog)), newest)
    known = manifest.records.get(top.id)
    if known is None or top.id <= newest.id or (known.run, known.attempt) != (top.run, top.attempt):
        return False
    return condition(known) == DAMAGED


def bring_back(
    found: Sequence[Found], manifest: Manifest, best: Metric | None, *, is_repeated: bool = False, above: int = 0
) -> Record | None:
    """Download the newest checkpoint that a run can be resumed from, and the best one, into a run directory.

    A damaged one is skipped with a warning, and an older one takes its place.

    Args:
        found: The mirrors, the nearest first.
        manifest: The manifest of the directory, which holds no such checkpoint.
        best: The metric that decides which one is the best; None for no best one.
        is_repeated: Whether an earlier call has said what the mirrors lack.
        above: The id that its id must exceed.

    Returns:
        The record of the newest one; None if no mirror has one.

    Raises:
        ResumeError: The newest one cannot be downloaded now, and is not known to be damaged; or all are damaged.
    """
    candidates = [(entry, one) for one in found for entry in newest_first(one.catalog) if entry.record.id > above]
    candidates.sort(key=lambda pair: -pair[0].record.id)  # stable: of equal ones, the nearest comes first
    failed: tuple[int, str] | None = None  # the checkpoint that no mirror has given so far, and why
    for entry, one in candidates:
        if failed is not None and entry.record.id != failed[0]:
            break
        try:
            record = _pulled(entry, one, manifest)
        except (MirrorError, OSError) as error:
            failed = (
                entry.record.id,
                f"{one.store.url}: {entry.record.file} cannot be brought back: {first_line(error)}",
            )
            continue
        failed = None
        if record is not None:
            _bring_best(record, one, manifest, best)
            return record
    if failed is not None:
        raise ResumeError(f"{failed[1]}; expected a mirror that gives it, or resume='never' to begin a new run")
    if candidates:
        raise ResumeError(
            f"{candidates[0][1].store.url}: {'its newer' if above else 'all of its'} checkpoints are damaged or gone; "
            "expected a mirror with a whole one, or resume='never' to begin a new run"
        )
    if found and not is_repeated:
        log.warning(
            "%s: holds only checkpoints that a run cannot be resumed from, such as weights alone, so training starts "
            "from scratch", found[0].store.url,
        )  # fmt: skip
    return None


def _bring_best(record: Record, one: Found, manifest: Manifest, best: Metric | None) -> None:
    """Download the best checkpoint of the run of a record as well; a line says why if that fails."""
    top = best_record([r for r in one.catalog.records if r.status.on_disk and r.run == record.run], best)
    if top is None or top.id == record.id or (wanted := one.catalog.entry_of(top.id)) is None:
        return
    try:
        _pulled(wanted, one, manifest)
    except (MirrorError, OSError) as error:
        log.warning("%s: %s, the best one, stays there: %s", one.store.url, wanted.record.file, first_line(error))


def _pulled(entry: Entry, one: Found, manifest: Manifest) -> Record | None:
    """Download one checkpoint, and return its record; None if it is damaged or gone."""
    try:
        record = pull(one.store, entry, one.catalog, manifest)
    except (VerifyError, FileNotFoundError) as error:
        log.warning("%s: %s is skipped: %s", one.store.url, entry.record.file, first_line(error))
        return None
    step = "".join(f" ({words})" for words in record.words("step"))
    log.warning("%s: restored from %s%s", record.path, one.store.url, step)
    return record


def pull(store: ObjectStore, entry: Entry, catalog: Catalog, manifest: Manifest) -> Record:
    """Download one checkpoint into a run directory, compare it with its digest, and list it there.

    One that is there already is not downloaded again.

    Args:
        store: The mirror's store.
        entry: The checkpoint.
        catalog: The catalog of the mirror.
        manifest: The manifest of the directory.

    Raises:
        MirrorError: The store does not give it, or the directory holds another one with its id.
        VerifyError: It is damaged.
    """
    layout, record = manifest.layout, entry.record
    if (here := listed_here(manifest, record, store.url)) is not None:
        return here
    make_folder(layout.staging)
    staged = layout.staging / f"{record.run}-{record.id}.pulled-{uuid.uuid4().hex[:8]}"
    try:
        download(store, entry, staged)
        flush(staged)
        _list_starts(manifest, catalog)
        suffix = reader_suffix(record.file)
        name = free_name(layout.dirpath, record.file.removesuffix(suffix), suffix)
        kept = record.replace(file=name, directory=str(layout.dirpath), identity="", replacement={}, absent=False)
        manifest.put(kept.replace(status=Status.WRITING))
        commit(staged, layout.dirpath / name)
        return manifest.put(kept.replace(status=record.status, identity=identity(layout.dirpath / name)))
    finally:
        remove(staged)


def listed_here(manifest: Manifest, record: Record, url: str) -> Record | None:
    """Return the record of a checkpoint of a mirror that a run directory holds; None if it does not.

    Args:
        manifest: The manifest of the directory.
        record: The checkpoint, as it is in the mirror.
        url: The mirror's URL.

    Raises:
        MirrorError: The directory holds another checkpoint with its id.
    """
    manifest.refresh()
    known = manifest.records.get(record.id)
    if known is None or not known.status.on_disk or not os.path.lexists(known.path):
        return None
    is_same = (known.run, known.attempt) == (record.run, record.attempt)  # it may have been reduced since
    if known.digest == record.digest or (is_same and known.resumable >= record.resumable):
        return known
    raise MirrorError(
        f"{known.path}: has the id {record.id}, as has {record.file} at {url}, which is another checkpoint; expected "
        "an empty run directory"
    )


def download(store: ObjectStore, entry: Entry, target: Path) -> None:
    """Download the bytes of a checkpoint into a new file or folder, and compare them with its digest meanwhile.

    Args:
        store: The mirror's store.
        entry: The checkpoint.
        target: The file or folder.

    Raises:
        MirrorError: The store does not give it.
        VerifyError: It is damaged.
    """
    record, found = entry.record, list[str]()
    for part in entry.parts:
        path = target / part.inside if entry.is_folder else target
        if entry.is_folder and not path.resolve().is_relative_to(target.resolve()):
            raise VerifyError(f"{store.url}/{part.key}: leads out of the folder, to {part.inside!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        found.append(_download_part(store, part, path))
    whole = entry.digest_of(found)
    if whole != record.digest:
        where = f"{store.url}/{entry.parts[0].key}" if len(found) == 1 else f"{store.url}: {record.file}"
        raise VerifyError(f"{where}: its digest is {whole}; the catalog says {record.digest}")


def _download_part(store: ObjectStore, part: Part, path: Path) -> str:
    """Download one object, and return the digest of its bytes."""
    with open(path, "xb") as file:  # buffered, because a raw file may take only a part of the bytes
        return digest_of(store, part, f"{store.url}/{part.key}", file.write)


def _list_starts(manifest: Manifest, catalog: Catalog) -> None:
    """Bring the starts of training into the journal, and keep the ids of all records from being used again."""
    manifest.refresh()
    for attempt in unknown_starts(catalog.attempts, manifest.attempts):
        manifest.start(attempt)
    manifest.reserve(max([catalog.highest, *(record.id for record in catalog.records)]))
