"""The files of a run directory whose names other code gives, as the worker handles them."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

from ..errors import CommitError
from ..record import Record, Status
from ..store.commit import flush, remove, replace
from ..store.identity import identity
from ..store.manifest import Manifest
from ..store.private_files import make_folder
from . import pruning
from .leftovers import Leftovers
from .twins import Twins

log = logging.getLogger("ckpt_callbacks")


class NamedFiles:
    """Puts files in place of others, gives them second names, and deletes them.

    Args:
        manifest: The run directory's manifest.
        leftovers: Deletes the files.

    Attributes:
        left: The ids of the records that another thread makes of files that were there before the run.
    """

    def __init__(self, manifest: Manifest, leftovers: Leftovers) -> None:
        self._manifest, self._layout, self._leftovers = manifest, manifest.layout, leftovers
        self._twins = Twins(manifest)
        self.left: dict[str, int] = {}
        self._ids: dict[str, int] = {}  # of the newest record of each name, once one is looked for

    def put(self, staged: Path, record: Record) -> None:
        """Move a finished file to the place of its record, whatever is there."""
        replace(staged, record.path, self._aside(record.file))

    def outlive(self, record: Record) -> None:
        """Record that the checkpoints in whose place this one was put are gone."""
        other, self._ids[record.file] = self._find(record.file), record.id
        if other is not None and other.id != record.id:
            self._forget(other)

    def link(self, record: int, file: str, to: str, reason: str) -> Record:
        """Give a checkpoint a second name, as a hard link or, where there are none, as a copy.

        Args:
            record: The id of the new name's record.
            file: The new name. Whatever has it is replaced.
            to: The checkpoint's name.
            reason: Why.

        Raises:
            CommitError: There is no such checkpoint.
        """
        of = self._find(to)
        if of is None or not os.path.exists(of.path):
            raise CommitError(f"stays as it is, because {to} was not saved")
        second = of.replace(id=record, file=file, reasons=(reason,), pinned=False, tags=(), identity="")
        if (target := second.path).exists() and os.path.samefile(target, of.path):
            return of
        make_folder(self._layout.staging)
        staged = self._layout.staging / f"{of.run}-{record}{Path(file).suffix}"
        try:
            _copy_by_links(of.path, staged)
            second = self._manifest.put(second.replace(status=Status.WRITING))
            self.put(staged, second)
        except BaseException:
            with contextlib.suppress(OSError):  # the next start empties the folder
                remove(staged)
            raise
        made = self._manifest.put(second.replace(status=Status.VERIFIED, identity=identity(target)))
        self.outlive(made)
        self._twins.note(of, made)
        return made

    def point(self, file: str, to: str) -> None:
        """Make a symbolic link to a checkpoint. Whatever has its name is replaced.

        Raises:
            CommitError: There is no such checkpoint.
        """
        target, path = self._layout.dirpath / to, self._layout.dirpath / file
        if not os.path.exists(target):
            raise CommitError(f"stays as it is, because {to} was not saved")
        make_folder(self._layout.staging)
        staged = self._layout.staging / "link"
        staged.unlink(missing_ok=True)
        os.symlink(os.path.relpath(target, path.parent), staged)
        replaced = self._find(file)
        replace(staged, path, self._aside(file))
        if replaced is not None:
            self._forget(replaced)

    def delete(self, file: str) -> None:
        """Delete a checkpoint, unless somebody has pinned or tagged it; or a file that no record names."""
        record, path = self._find(file), self._layout.dirpath / file
        if record is None:
            self._leftovers.remove(path)
        elif pruning.delete(self._manifest, record, _is_free, self._leftovers, "its callback replaced it"):
            self._twins.renew(record.digest)
        else:
            log.info("%s: kept, because somebody has pinned or tagged it", path)

    def _find(self, file: str) -> Record | None:
        """Return the checkpoint that has a name, at the same cost however many there are."""
        self._ids = self._ids or {record.file: record.id for record in self._manifest.live()}
        id_ = self._ids.get(file) or self.left.get(file, 0)
        return self._manifest.records[id_] if self._manifest.counts(id_) else None

    def _forget(self, record: Record) -> None:
        """Record that another file is in the place of a checkpoint."""
        self._manifest.change(record.id, status=Status.DELETED, absent=True)
        self._twins.renew(record.digest)

    def _aside(self, file: str) -> Path:
        """Return where a folder waits that is being replaced: under the name by which recovery finds its record."""
        there = self._find(file)
        name = "replaced.deleted" if there is None else f"{there.run}-{there.id}.replaced"
        return self._layout.staging / name


def _is_free(record: Record) -> bool:
    return not (record.pinned or record.tags)


def _copy_by_links(source: Path, staged: Path) -> None:
    """Create another name for a file, or for each file of a folder; a copy where the file system has no links."""
    remove(staged)
    if source.is_dir():
        shutil.copytree(source, staged, copy_function=_link_or_copy)
    else:
        _link_or_copy(str(source), str(staged))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        flush(Path(target))
