"""The replacement of one checkpoint by a file of the same name that holds less."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import StoreError, first_line
from ..formats import Written, format_of
from ..formats.format import Format
from ..formats.packed.native import Native
from ..formats.packed.suffix import is_split
from ..policy.contents import WEIGHTS, Contents
from ..policy.contents_order import held, reachable
from ..record import Record, Status
from ..store.identity import identity
from ..store.manifest import Manifest
from ..store.replacement import finished, intended, is_in_place, swap, undone
from ..store.succession import predecessor, settle, successor
from .repacking import Repacking
from .staged_file import StagedFile, is_as_planned

log = logging.getLogger("ckpt_callbacks")


class Rewriting:
    """One replacement.

    Args:
        manifest: The run directory's manifest.
        record: The record of the checkpoint.
        contents: What is needed of it. What it does not hold any more does not come back.
    """

    def __init__(self, manifest: Manifest, record: Record, contents: Contents = WEIGHTS) -> None:
        self._manifest, self._record = manifest, record
        self._contents = reachable(held(record), contents)
        self._intent: dict[str, Any] = {}  # the change that this object has announced
        self._seen = ""  # the identity of the file that is rewritten

    def carry_out(self, may: Callable[[], bool] = lambda: True) -> Record | None:
        """Write the new file, read it back, let it take the place of the old one, and record it.

        Args:
            may: Asked again and again, and last while no other process can change the journal: whether to go on.

        Returns:
            The changed record; None if the checkpoint was deleted, pinned, tagged or reduced meanwhile.

        Raises:
            OSError: The disk is full, or broken.
            Stopped: ``may`` said no.
            StoreError: The format cannot be rewritten, or holds objects that only the script's own code can read.
            VerifyError: The checkpoint is damaged, or what was written is.
        """
        if successor(self._record) is not None or predecessor(self._record) is not None:
            # A change of its form was interrupted.
            self._record = settle(self._manifest, self._record.id)
        if is_split(self._record.file):
            # A folder cannot take the place of another one in a single rename.
            if (joined := Repacking(self._manifest, self._record, Native()).carry_out(may)) is None:
                return None
            self._record = joined
        record = self._record
        form = format_of(record.path)
        if form is None or form.thin is None:
            raise StoreError(f"{record.path}: is in a format that cannot be rewritten; expected .ckpt, .keras or .h5")
        if record.replacement and (now := self._settle()) is not None:  # an earlier attempt was interrupted
            return now
        with StagedFile(self._manifest, record, form.suffix, may) as staged:
            try:
                self._seen = identity(record.path)
                staged.verify_source()
                written = self._write(form, staged)
                staged.go_on()
                self._manifest.amend(record.id, lambda now: self._announced(now, written))
                if not self._intent:
                    return None
                now = self._manifest.amend(record.id, lambda now: self._swapped(now, staged.path, may))
            except BaseException:
                if self._intent:
                    self._settle()
                raise
        return now if self._is_changed(now) else None

    def _write(self, form: Format, staged: StagedFile) -> Written:
        """Write the new file, read it back, and return its facts."""
        assert form.thin is not None
        embedded = self._record.replace(
            contents=self._contents.kind, resumable=False, digest="", size=0, identity="", compressed={}
        )
        written = form.thin(self._record.path, staged.path, embedded.to_json(), self._contents)
        if written.digest is None or written.size is None:
            found, size = staged.flushed()
        else:
            found, size = written.digest, written.size
        staged.read_back((found, size))
        form.check(staged.path, written.shapes)
        return replace(written, digest=found, size=size)

    def _announced(self, now: Record, written: Written) -> dict[str, Any]:
        """Return the change that announces the new file; none if somebody has changed the checkpoint.

        An announcement that is still there was interrupted, or is replaced: whoever made it finds this one, and stops.
        """
        is_old = now.replacement == self._record.replacement and identity(now.path) == self._seen
        if is_as_planned(now, self._record) and (not now.replacement or is_old):
            assert written.digest is not None and written.size is not None
            self._intent = intended(
                written.digest, written.size, self._contents.kind, written.reduced, written.compressed
            )
        return self._intent

    def _swapped(self, now: Record, staged: Path, may: Callable[[], bool]) -> dict[str, Any]:
        """Let the new file take the place of the old one, and return the change that says so.

        No other process can change the journal meanwhile, so nobody deletes, pins or repairs the checkpoint.
        """
        if now.replacement != self._intent["replacement"]:  # a start has undone it
            return {}
        if not is_as_planned(now, self._record) or not may():
            return undone()
        swap(staged, now.path)
        return finished(now)

    def _is_changed(self, now: Record) -> bool:
        """Return whether another file has taken the place of the one that was to be rewritten."""
        return now.status is Status.THINNED and now.digest != self._record.digest

    def _settle(self) -> Record | None:
        """Let the journal say that a new file is in place, or take the announcement back, and return the record.

        What another process has announced, and has not done yet, is left to it.
        """
        try:
            known = self._manifest.records.get(self._record.id, self._record)
            is_new = bool(known.replacement) and is_in_place(known)

            def facts_of(now: Record) -> dict[str, Any]:
                if not now.replacement or now.replacement != known.replacement:
                    return {}
                if is_new:
                    return finished(now)
                return undone() if now.replacement == self._intent.get("replacement") else {}

            now = self._manifest.amend(known.id, facts_of)
        except (OSError, StoreError) as error:  # until then, both files count as good
            log.warning("%s: %s; the next start corrects it", self._manifest.layout.journal, first_line(error))
            return None
        return now if self._is_changed(now) else None


def unknown_names(record: Record, but: Collection[str] = ()) -> str:
    """Return what to say about names in ``drop`` that no weight of a reduced checkpoint had; empty if there are none.

    Args:
        record: The checkpoint.
        but: Names about which nothing is to be said.
    """
    unknown = [(name, hint) for name, hint in record.reduced.get("unknown", {}).items() if name not in but]
    if not unknown:
        return ""
    named = "; ".join(f"{name!r} ({hint})" for name, hint in unknown[:3])
    return f"drop has names that no weight and no part of the model has, so nothing was left out for them: {named}"
