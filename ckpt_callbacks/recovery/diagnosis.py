"""The examination of a run directory: everything that may be wrong in it, as a series of repairs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from pathlib import Path

from ..errors import StoreError, Unreadable, VerifyError, cause_of
from ..policy.named_only import is_named_elsewhere
from ..policy.policy import Policy
from ..policy.ranking import alias_targets
from ..store.aliases import link_targets, move_alias, obstacle, read_alias
from ..store.command_lock import command_lock
from ..store.commit import free_name, sync_folder
from ..store.file_lock_calls import is_locked
from ..store.layout import Layout
from ..store.manifest import Manifest
from ..store.private_files import misplaced
from ..store.rehearsal import Rehearsal
from ..store.replacement import verify_now
from .deletions import note_finished
from .interrupted import FINDERS, as_failed
from .originals import hint_to_adopt
from .rebuild import find_unlisted
from .renamed import find_renamed
from .repair import Repair
from .returned import find_returned
from .unreadable import find_unreadable

_REWRITTEN = "rewritten from the intact ones, next to a copy of the old file"

PolicyOf = Callable[[Manifest], Policy | None]


def examine(dirpath: Path, policy_of: PolicyOf, *, repair: bool) -> Iterator[str]:
    """Yield one line for each problem, after repairing it if that is requested.

    Damaged checkpoints are marked as failed. No file is deleted, except leftovers of interrupted saves and deletions.

    Args:
        dirpath: The run directory.
        policy_of: Returns the policy that says which checkpoint is the best, or None if none is known.
        repair: Apply the repairs; otherwise nothing is changed. Then, a training run may hold the directory; what it
            has not finished is no problem.

    Raises:
        StoreError: ``dirpath`` is not a run directory, or a repair failed. The others were made.
        DirectoryInUse: A training run holds the directory.
    """
    layout, manifest = Layout(dirpath), Manifest(dirpath)
    names = {path for path, _ in misplaced(layout)}
    if not names and not os.path.lexists(layout.journal) and next(find_unlisted(manifest), None) is None:
        hint = hint_to_adopt(manifest)
        raise StoreError(
            f"{dirpath}: has neither a manifest nor a checkpoint of ckpt_callbacks; expected a run directory"
            f"{hint and f': {hint}'}"
        )
    before_lock = {layout.private, layout.training_lock, layout.owner}
    failed: list[OSError] = []
    yield from _reported(_obstructions(layout, names & before_lock), repair, failed)
    with command_lock(layout, "ckpt doctor") if repair else contextlib.nullcontext():
        yield from _reported(_obstructions(layout, names - before_lock), repair, failed)
        if repair or not names & {layout.private, layout.journal}:
            manifest.refresh()

        def is_training() -> bool:
            return not (repair or names) and is_locked(layout.training_lock)

        rehearsal, busy = Rehearsal(manifest), False
        wrong_links = partial(_wrong_links, policy_of=policy_of)
        thorough = partial(find_returned, thoroughly=True)
        for find in (_bad_lines, *FINDERS, thorough, _damaged, find_unreadable, wrong_links):
            busy = busy or is_training()
            found = list(find(manifest if repair or busy else rehearsal))
            if not busy and is_training():  # one that began meanwhile may have changed what was found
                busy, found = True, list(find(manifest))
            if find in (_bad_lines, _damaged) or not busy:  # what a training run has begun, it finishes itself
                yield from _reported(found, repair, failed, rehearse=not (repair or busy))
        if repair:
            note_finished(manifest)
            manifest.say_gone()
    if failed:
        raise StoreError(f"{dirpath}: {len(failed)} of these problems could not be repaired: {cause_of(failed[0])}")


def _reported(
    repairs: Iterable[Repair], repair: bool, failed: list[OSError], *, rehearse: bool = False
) -> Iterator[str]:
    """Yield one line for each repair, after making it, or rehearsing it so that what follows from it is found, too."""
    for found in repairs:
        error = found.attempt() if repair or (rehearse and found.changes_only_records) else None
        if error is not None and repair:
            failed.append(error)
        yield found.describe(applied=repair, error=error if repair else None)


def _obstructions(layout: Layout, names: set[Path]) -> Iterator[Repair]:
    """Yield a repair for each of these private names that something else has."""
    for path, problem in misplaced(layout):
        if path in names:
            aside = path.with_name(free_name(path.parent, path.name, ".damaged"))
            yield Repair(problem, f"renamed to {aside.name}", partial(_set_aside, path, aside))


def _set_aside(path: Path, aside: Path) -> None:
    os.rename(path, aside)
    sync_folder(path.parent)


def _bad_lines(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair if lines of the manifest or of the history are damaged."""
    if manifest.problems:
        yield Repair(f"{manifest.layout.journal}: {_count(manifest.problems)} damaged", _REWRITTEN, manifest.rewrite)
    history = manifest.history
    try:
        damaged = history.damaged()
    except StoreError:  # something else has its name, which is reported
        return
    except OSError as error:
        yield Repair(
            f"{history.path}: cannot be read: {error.strerror or error}",
            "left unchanged: make it readable, or move it away to go on without the records in it",
            lambda: None,
        )
        return
    if damaged:
        yield Repair(f"{history.path}: {_count(damaged)} damaged", _REWRITTEN, history.mend)


def _count(lines: Sized) -> str:
    return "1 line is" if len(lines) == 1 else f"{len(lines)} lines are"


def _damaged(manifest: Manifest) -> Iterator[Repair]:
    """Yield a repair for each checkpoint that is missing, changed or unreadable."""
    for record in manifest.live():
        try:
            verify_now(manifest, record, from_device=True)
        except Unreadable as error:
            yield Repair(str(error), "left unchanged: repair the disk or delete the file", lambda: None)
        except VerifyError as error:
            manifest.refresh()
            if not manifest.counts(record.id):
                continue  # a training run deleted it meanwhile
            yield find_renamed(manifest, record) or Repair(
                str(error),
                f"marked as {'damaged' if os.path.exists(record.path) else 'missing'}",
                partial(manifest.amend, record.id, partial(as_failed, error=error, digest=record.digest)),
                changes_only_records=True,
            )


def _wrong_links(manifest: Manifest, policy_of: PolicyOf) -> Iterator[Repair]:
    """Yield a repair for each of the links `last`, `best` and `final` with a wrong target."""
    if is_named_elsewhere(manifest.attempts):  # other code may call one of its files last
        return
    policy = policy_of(manifest)
    dirpath, records = manifest.layout.dirpath, manifest.verified(manifest.newest_run)
    known = link_targets(manifest.records.values())
    for name, record in alias_targets(records, policy.best_metric if policy else None).items():
        if name == "best" and policy is None:
            continue  # without a policy, it is unknown which checkpoint is the best
        if record and (other := obstacle(dirpath, name, record.file, known)) is not None:
            yield Repair(
                f"{other}: is not a link to {record.file}, perhaps because the directory was copied without its links",
                "left unchanged: move it away and run ckpt doctor again",
                lambda: None,
            )
        elif read_alias(dirpath, name, known) != (record.file if record else None):
            yield Repair(
                f"{name}: does not point to {record.file}"
                if record
                else f"{name}: points to a checkpoint that is not {name}",
                "recreated" if record else "removed",
                partial(move_alias, dirpath, name, record.file if record else None, known),
            )
