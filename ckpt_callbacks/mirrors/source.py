"""The run directory that is mirrored, as the mirrors see it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import MirrorError
from ..formats import format_of
from ..formats.packed.opened import native_path
from ..formats.packed.suffix import is_split, native_name
from ..policy.contents import Contents
from ..policy.policy import Policy
from ..record import Record, Status
from ..store.commit import flush, remove
from ..store.digest import digest, verify
from ..store.layout import Layout
from ..store.manifest import Manifest
from ..store.private_files import make_folder

_OFTEN = 0.2  # seconds between two looks at a file that grows


@dataclass(frozen=True)
class MirroredRun:
    """The run whose checkpoints are sent.

    Attributes:
        manifest: The run directory's manifest.
        records: Returns the verified checkpoints of the run that have a file, oldest first.
        policy: Says what is kept, and what is best.
        framework: Who writes the checkpoints, such as ``lightning``.
        may_delete: Returns whether the rules may delete now; not while a metric that ranks may be misspelt.
    """

    manifest: Manifest
    records: Callable[[], Sequence[Record]]
    policy: Policy
    framework: str
    may_delete: Callable[[], bool] = lambda: True

    @property
    def resumable(self) -> list[Record]:
        """The checkpoints from which a run can continue, as far as the manifest knows, oldest first."""
        return [record for record in self.manifest.live() if record.resumable and not record.superseded]

    @property
    def known(self) -> list[Record]:
        """All records of the journal, those of deleted checkpoints included."""
        return list(self.manifest.records.values())


@contextmanager
def reduced_copy(
    layout: Layout,
    record: Record,
    contents: Contents,
    progress: Callable[[int], object] = lambda count: None,
) -> Iterator[tuple[Record, Path]]:
    """Write a checkpoint with smaller contents into the staging folder, and yield its record and its path.

    The copy of one in shards is a native file.

    Args:
        layout: The paths of the run directory.
        record: The checkpoint.
        contents: What the copy is to hold.
        progress: Called again and again, with a number of bytes.

    Raises:
        MirrorError: Its format cannot be reduced.
        VerifyError: The checkpoint is damaged.
    """
    name = native_name(record.file) if is_split(record.file) else record.file
    form = format_of(record.path.with_name(name))
    if form is None or form.thin is None:
        raise MirrorError(f"{record.path}: is in a format that cannot be reduced to {contents}; expected no contents")
    make_folder(layout.staging)
    staged = layout.staging / f"{record.run}-{record.id}.mirror-{uuid.uuid4().hex[:8]}{form.suffix}"
    verify(record, progress=progress)
    small = record.replace(
        file=name, contents=contents.kind, resumable=False, digest="", size=0, identity="", compressed={}, shards={},
        replacement={},
    )  # fmt: skip
    try:
        native = native_path(record.path, layout.staging) if is_split(record.file) else nullcontext(record.path)
        with native as path, _growth(staged, progress):
            written = form.thin(path, staged, small.to_json(), contents)
        form.check(staged, written.shapes)
        flush(staged)
        found, size = digest(staged, progress=progress)
        facts = {"reduced": written.reduced, "compressed": written.compressed}
        yield small.replace(status=Status.THINNED, digest=found, size=size, **facts), staged
    finally:
        with suppress(OSError):  # the next start empties the folder
            remove(staged)


@contextmanager
def _growth(path: Path, progress: Callable[[int], object]) -> Iterator[None]:
    """Report by how much a file grows meanwhile; its writer says nothing. What ``progress`` raises comes at the end."""
    is_over, failures, size = threading.Event(), list[BaseException](), 0

    def watch() -> None:
        nonlocal size
        while not (failures or is_over.wait(_OFTEN)):
            with suppress(OSError):  # it is not there yet
                before, size = size, path.stat().st_size
                try:
                    if size > before:
                        progress(size - before)
                except BaseException as error:
                    failures.append(error)

    thread = threading.Thread(target=watch, name="ckpt_callbacks-growth", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if failures:
        raise failures[0]
