"""What is wrong in a run directory, and how it is put right."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ..errors import StoreError, Unreadable, VerifyError
from ..policy.policy import Policy
from ..policy.ranking import alias_targets
from ..record import Status
from ..store.aliases import move_alias, read_alias
from ..store.commit import free_name, sync_folder
from ..store.digest import verify
from ..store.layout import Layout
from ..store.lock import TrainingLock
from ..store.manifest import Manifest
from .interrupted import half_done
from .rebuild import lost
from .repair import Repair

PolicyOf = Callable[[Manifest], Policy | None]


def examine(dirpath: Path, policy_of: PolicyOf, *, repair: bool) -> Iterator[str]:
    """One line for each thing that is wrong, and, with ``repair``, put right by then.

    Only the holder of the training lock may repair. What is damaged for good counts no longer; no file is deleted but
    leftovers of saves and deletions that were cut off.

    Args:
        dirpath: The run directory. policy_of: the policy that says what is best, when it is known.
        repair: Put it right; else nothing is changed.

    Raises:
        StoreError: it is no run directory. DirectoryInUse: a training runs there.
    """
    layout, manifest = Layout(dirpath), Manifest(dirpath)
    in_the_way = list(_in_the_way(layout.private, "folder", os.path.isdir))
    if not in_the_way and not os.path.lexists(layout.journal) and next(lost(manifest), None) is None:
        raise StoreError(f"{dirpath}: holds no checkpoint of ours, and no manifest; expected a run directory")
    yield from _carried_out(in_the_way, repair)
    with _held(layout) if repair else contextlib.nullcontext():
        in_the_way += (found := list(_in_the_way(layout.journal, "file", os.path.isfile)))
        yield from _carried_out(found, repair)
        if repair or not in_the_way:
            manifest.refresh()
        for finder in (_illegible, lost, half_done, _damaged, lambda found: _astray(found, policy_of(found))):
            yield from _carried_out(list(finder(manifest)), repair)


@contextlib.contextmanager
def _held(layout: Layout) -> Iterator[None]:
    layout.private.mkdir(exist_ok=True)
    lock = TrainingLock(layout.training_lock, layout.owner, "ckpt doctor")
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _carried_out(repairs: list[Repair], repair: bool) -> Iterator[str]:
    for found in repairs:
        if repair:
            found.carry_out()
        yield found.what


def _in_the_way(path: Path, kind: str, is_right: Callable[[Path], bool]) -> Iterator[Repair]:
    """What has the name of our folder or of our manifest, and is none."""
    if os.path.lexists(path) and not is_right(path):
        aside = path.with_name(free_name(path.parent, path.name, ".damaged"))
        yield Repair(f"{path}: is no {kind}; it is set aside as {aside.name}", lambda: _set_aside(path, aside))


def _set_aside(path: Path, aside: Path) -> None:
    os.rename(path, aside)
    sync_folder(path.parent)


def _illegible(manifest: Manifest) -> Iterator[Repair]:
    """Lines of the manifest that cannot be used."""
    if manifest.problems:
        yield Repair(
            f"{manifest.layout.journal}: {len(manifest.problems)} of its lines cannot be used; it is written anew from "
            "what is whole in it, and the old one is kept beside it",
            manifest.rewrite,
        )


def _damaged(manifest: Manifest) -> Iterator[Repair]:
    """Checkpoints that are missing, or whose bytes changed."""
    for record in manifest.live():
        try:
            verify(record, from_device=True)
        except Unreadable as error:
            yield Repair(f"{error}; it is left as it is: mend the disk, or delete the file", lambda: None)
        except VerifyError as error:
            yield Repair(
                f"{error}; it counts no longer",
                partial(manifest.change, record.id, status=Status.FAILED, error=str(error)),
            )


def _astray(manifest: Manifest, policy: Policy | None) -> Iterator[Repair]:
    """Links that do not point at what they should."""
    dirpath, records = manifest.layout.dirpath, manifest.verified(manifest.newest_run)
    ours = {record.file for record in manifest.records.values()}
    for name, record in alias_targets(records, policy.best_metric if policy else None).items():
        if name == "best" and policy is None:
            continue  # nobody knows what is best
        if read_alias(dirpath, name, ours) != (record.file if record else None):
            wrong = "points at a checkpoint that it does not stand for; it is removed"
            if record is not None:
                wrong = f"does not point at {record.file}; the link is made anew"
            yield Repair(
                f"{name}: {wrong}",
                partial(move_alias, dirpath, name, record.file if record else None, ours),
            )
