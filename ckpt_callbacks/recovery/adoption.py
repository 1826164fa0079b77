"""The adoption of a directory in which the frameworks' own callbacks saved: a record for each of their files."""

from __future__ import annotations

import dataclasses
import errno
import os
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..errors import StoreError, listed
from ..policy.direction import direction_of
from ..policy.lineage import origin
from ..policy.metric import Metric
from ..policy.named_only import NAMED
from ..record import CALLED, Attempt, Record, Status, attempt_framework
from ..store.digest import Progress, digest
from ..store.identity import identity
from ..store.manifest import Manifest
from .originals import FoundOriginal, metrics_of, originals_in
from .rebuild import has_valid_checksums
from .repair import Repair

ADOPTED = "adopted"  # the fact that marks an attempt that an adoption recorded, not a training run


class Adoption:
    """The files that the frameworks' own callbacks wrote, and that no record describes, with a record for each.

    Nothing is parsed out of names, no code from a file is run, and no file is changed. In a directory without training
    runs of this package, the files become those of one run. Beside such runs, those that are not of a later step than
    every checkpoint count as superseded, so that no run continues from them unasked.

    Args:
        manifest: The manifest.
        thoroughly: Whether to read all bytes of the files at once, and to look as well for files that have taken the
            place of a checkpoint, which may mean reading all checkpoints.

    Attributes:
        records: Their records, in the order in which training wrote the files. The digests are not known yet.
        left: One line for each file that looks like one of these, and cannot be read.
        notes: Further lines for the user.

    Raises:
        StoreError: The files are those of several frameworks.
    """

    def __init__(self, manifest: Manifest, *, thoroughly: bool = True) -> None:
        self.records: list[Record] = []
        self.left: list[str] = []
        self.notes: list[str] = []
        self._manifest, self._thoroughly = manifest, thoroughly
        self._found = originals_in(manifest, thoroughly=thoroughly, left=self.left)
        if not self._found:
            return
        dirpath, framework = manifest.layout.dirpath, self._framework()
        if refused := [one for one in self._found if one.facts.refused]:
            self.notes.append(
                f"{dirpath}: objects of classes such as {refused[0].facts.refused} were not loaded from "
                f"{listed([one.name for one in refused])}; load them with weights_only=False"
            )
        self._start = self._start_of(framework)
        steps = {record.file: record.step for record in manifest.live()}
        newest = max(steps.values(), default=-1)
        steps |= {one.name: one.facts.step for one in self._found}
        for id_, one in enumerate(self._found, start=manifest.next_id):
            facts, metrics = one.facts, metrics_of(one, steps, self._found)
            self.records.append(Record(
                id=id_, file=one.name, step=facts.step, epoch=facts.epoch, unknown=facts.unknown,
                wall=one.changed_at / 1e9, metrics=metrics, contents=facts.contents, resumable=facts.resumable,
                run=self._start.run, attempt=self._start.number, identity=one.identity, superseded=facts.step < newest,
                reasons=(f"adopted: a file of {CALLED[framework]}",), directory=str(dirpath),
            ))  # fmt: skip

    def repairs(self) -> list[Repair]:
        """Return a repair for each record, which writes it; the first one writes the start of their run as well."""
        return [
            Repair(_said(record), "recorded", partial(self.enter, record), changes_only_records=True)
            for record in self.records
        ]

    def enter(self, record: Record, progress: Progress | None = None) -> Record:
        """Write a record to the manifest, and return it. Before the first one comes the start of their run.

        Args:
            record: One of the records.
            progress: As in `digest`.

        Raises:
            OSError: The file cannot be read, was changed since it was found, or is damaged.
        """
        manifest, path = self._manifest, record.path
        found, size = digest(path, progress=progress)
        if not self._thoroughly and not has_valid_checksums(path, progress):
            raise OSError(errno.EIO, "its checksums do not match", os.fspath(path))
        if identity(path) != record.identity:
            raise OSError(errno.EAGAIN, "it was changed while it was read", os.fspath(path))
        if not manifest.attempts:  # otherwise, they are beside other runs, or the start is written
            manifest.start(self._start)
        replaced = next((one.replaced for one in self._found if one.name == record.file), None)
        if replaced is not None:
            manifest.change(replaced.id, status=Status.DELETED, absent=True)
        return manifest.put(record.replace(digest=found, size=size, status=Status.VERIFIED))

    def precede(self, begun: Attempt, loaded: Path | None) -> Attempt:
        """Put the files before a start of training that is not in the manifest yet, and return that start.

        No later record gets one of their ids. If training continues from one of them, that one and all before it become
        the beginning of the same run, and the others count as superseded.

        Args:
            begun: The start of training.
            loaded: The file from which it continues; None if from none, or from a checkpoint that has a record.
        """
        self._manifest.reserve(self.records[-1].id)
        at = next((one.step for one in self.records if loaded is not None and one.path.samefile(loaded)), None)
        parent = next((one for one in reversed(self.records) if one.step == at), None)  # of equal weights
        if parent is not None:
            self._start = dataclasses.replace(self._start, run=begun.run, number=0)
        upto = parent.id if parent is not None else 0
        where = {"run": self._start.run, "attempt": self._start.number}
        self.records = [record.replace(superseded=record.id > upto, **where) for record in self.records]
        if parent is not None or not self._manifest.attempts:
            self._manifest.start(self._start)
        if parent is None:
            return begun
        facts = {**begun.facts, **origin(parent.replace(**where))}
        return dataclasses.replace(begun, parent=parent.id, facts=facts)

    def _framework(self) -> str:
        """Return who wrote all of the files.

        Raises:
            StoreError: There are several, or runs of another framework are here.
        """
        by_framework = {one.facts.framework: one.name for one in self._found}
        known = {attempt_framework(attempt) for attempt in self._manifest.attempts} - {None}
        if len(by_framework) > 1 or known - by_framework.keys():
            what = " and ".join(f"{file} of {CALLED[name]}" for name, file in by_framework.items())
            beside = f", beside runs of {' and '.join(CALLED.get(n or '', str(n)) for n in known)}" if known else ""
            raise StoreError(
                f"{self._manifest.layout.dirpath}: holds {what}{beside}; expected files of one framework; move the "
                "others away"
            )
        return next(iter(by_framework))

    def _start_of(self, framework: str) -> Attempt:
        """Return the start of training to which the records belong: that of an earlier adoption, or a new one."""
        from .ranked_by_others import ranked_by_others  # here, because importing the YAML reader is slow

        attempts = self._manifest.attempts
        if attempts and attempts[-1].facts.get(ADOPTED):
            return attempts[-1]
        policy = ranked_by_others(_metric(self._found))
        facts = {"framework": framework, NAMED: True, ADOPTED: True, "policy": policy}
        return Attempt(uuid.uuid4().hex[:12], 1, None, min(one.changed_at for one in self._found) / 1e9, facts)


def _said(record: Record) -> str:
    said = record.words("epoch", "step")
    said += [f"{name}={value:.6g}" for name, value in record.metrics.items()]
    said += [] if record.resumable else ["not resumable"]
    return f"{record.path}: {', '.join(said)}"


def _metric(found: Sequence[FoundOriginal]) -> Metric | None:
    """Return the metric by which the newest file that has a ranking is ranked."""
    for one in reversed(found):
        for ranking in one.facts.rankings:
            if (mode := ranking.mode or direction_of(ranking.metric)) is not None:
                return Metric(ranking.metric, mode=mode)
    return None
