"""Has the saves carried out that the engine asks for, on all processes of a training together."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import Busy, CkptError
from ..events import Event, EventKind
from ..formats import Written
from ..policy.decision import Save
from ..policy.engine import scores_at
from ..policy.filename import FileName
from ..policy.state import State
from ..record import Record
from ..recovery.lineage import supersede
from ..runtime.clock import Clock
from ..runtime.environment import environment, plain
from ..runtime.worker import Worker
from .committer import Checkpointer, Outcome, Request, SameContent
from .directory import Holding
from .snapshot import LiveSnapshot, Snapshot

log = logging.getLogger("ckpt_callbacks")
_LAST = (EventKind.END, EventKind.PREEMPT, EventKind.EXCEPTION)  # behind them nothing comes that could wait for it


@dataclass(frozen=True)
class Saving:
    """How an adapter saves, if a save is due; see `Run.observe`."""

    stage: Callable[[], Snapshot] | None = None
    same: SameContent | None = None
    metadata: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True)
class Landed:
    """A save that was asked for has come to its end.

    Attributes:
        save: Its number, as the engine counts. record: what was saved, where it was, and this process leads.
        error: Why it was not.
        blocked: Seconds for which the training stood still for it; None where nothing had to be written.
    """

    save: int
    record: Record | None = None
    error: CkptError | None = None
    blocked: float | None = None


@dataclass(frozen=True)
class Identity:
    """Which start of which run the records of a training belong to; see `Record`."""

    run: str
    attempt: int
    parent: int | None


class _How(Enum):
    """What is done about a save."""

    STAGE = "a snapshot is taken"
    SHARE = "the newest file holds these weights already, or will"
    SKIP = "too many wait to be written"


class Saver:
    """Turns decisions to save into records.

    Args:
        directory: The run directory. checkpointer: writes into it. worker: whom it has do so. clock: the run's.
        filename: Template of the names. suffix: of the files. contents: ``full`` or ``weights``.
        metadata: Plain facts for every record. max_pending: saves that may wait to be written.
        skips: A further one is skipped, else it waits. wake: called, on any thread, when a save has landed.

    Attributes:
        identity: Of the training that goes on.
        under_way: The facts of the save whose snapshot is taken now.
        landed: Saves that came to their end, oldest first, until the run takes them from here.
        records: For each save that was asked for, the id of the record that it became, or was to become.
        max_pending: As given.
    """

    def __init__(
        self, directory: Holding, checkpointer: Checkpointer, worker: Worker, *, clock: Clock, filename: FileName,
        suffix: str, contents: str, metadata: Mapping[str, Any], max_pending: int, skips: bool,
        wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._directory, self._checkpointer, self._worker = directory, checkpointer, worker
        self.max_pending, self._skips, self._clock, self._wake = max_pending, skips, clock, wake
        self._filename, self._suffix, self._contents, self._metadata = filename, suffix, contents, metadata
        self.identity = Identity("", 0, None)
        self.under_way: Record | None = None
        self.landed: deque[Landed] = deque()
        self.records: dict[int, int] = {}
        self._branched, self._handed_over = False, 0
        self._newest: Record | None = None  # what is known of the newest file that was asked for
        self._unwritten: set[int] = set()  # ids of files that were asked for and have not landed

    def begin(self, identity: Identity) -> None:
        """A training begins."""
        self.identity, self._branched, self._newest = identity, False, None

    def ask(self, save: Save, event: Event, saving: Saving, measured: Event, state: State) -> None:
        """Take a snapshot and hand it over to be written; what becomes of it is told through `landed`.

        The last saves of a training are never skipped, and have landed when this returns.

        Args:
            save, event: What the engine decided, and on what. saving: how.
            measured: The event whose metrics are those of the weights that are saved. state: after ``event``.
        """
        try:
            self._ask(save, event, saving, measured, state)
        except BaseException:
            # An interrupt, say. Whoever goes on with this training has to know that nobody writes it.
            if save.id != self._handed_over:
                self._come_to_nothing(save, "interrupted")
            raise
        finally:
            self.under_way = None
        if event.kind in _LAST:
            self._worker.wait()

    def _ask(self, save: Save, event: Event, saving: Saving, measured: Event, state: State) -> None:
        asked, peers = self._clock.monotonic(), self._directory.peers
        how = peers.share(self._how(event) if peers.leader else None)
        if how is _How.SKIP:
            why = "an earlier save is still written" if self._unwritten else "its memory is still being prepared"
            self._come_to_nothing(save, why)
            return
        draft = self._draft(save, event, saving.metadata() if peers.leader else {}, measured, state)
        if peers.leader:
            self._lead(save, draft, saving, how, asked)
        elif how is _How.STAGE:
            self._follow(draft, saving)

    def _come_to_nothing(self, save: Save, why: str) -> None:
        self._unwritten.discard(self.records.get(save.id))
        self.landed.append(Landed(save.id, error=Busy(f"{self._directory.dirpath}: {why}")))

    def take(self, *, together: bool) -> list[Landed]:
        """The saves that have landed since the last call, oldest first.

        Args:
            together: All processes of the training call this now, and are told the same.
        """
        landed = []
        while self.landed:
            landed.append(self.landed.popleft())
        if not together:
            return landed
        peers = self._directory.peers
        told = peers.share([dataclasses.replace(one, record=None) for one in landed] if not peers.alone else landed)
        return landed if peers.leader else told

    def _how(self, event: Event) -> _How:
        if event.kind is not EventKind.END and self._is_written(event):
            return _How.SHARE
        if self._worker.waiting >= self.max_pending:
            if self._skips and event.kind not in (*_LAST, EventKind.DEMAND):
                return _How.SKIP
            self._worker.wait(self.max_pending - 1)
        return _How.STAGE

    def _lead(self, save: Save, draft: Record, saving: Saving, how: _How, asked: float) -> None:
        peers, name = self._directory.peers, self._filename.render(draft)
        request = Request(draft, name, self._suffix, same=saving.same, asked=asked, committed=self._supersede)
        if how is _How.SHARE:
            request = dataclasses.replace(request, unchanged=self._newest.id)
        else:
            self.under_way = self._newest = draft = draft.replace(id=self._checkpointer.new_id())
            request = dataclasses.replace(request, draft=draft)
        self.records[save.id] = record = request.unchanged or draft.id  # before the snapshot, which carries it
        if how is _How.STAGE:
            request = self._staged(request, saving)
        self._unwritten.add(record)
        self._checkpointer.save(request, lambda outcome: self._land(save, request, outcome))
        self._handed_over = save.id
        if not peers.alone and request.snapshot is not None and request.snapshot.live:
            peers.share(None)  # nothing more is written

    def _staged(self, request: Request, saving: Saving) -> Request:
        peers, snapshot = self._directory.peers, None
        try:
            snapshot = saving.stage()
        except Exception as error:  # whatever a framework raises: a failed save never ends a training
            request = dataclasses.replace(request, failed=error)
        live = peers.share(snapshot is not None and snapshot.live)
        if live and not peers.alone:
            snapshot = LiveSnapshot(self._with_peers(snapshot))
        blocked = None if live else self._clock.monotonic() - request.asked
        return dataclasses.replace(request, snapshot=snapshot, blocked=blocked)

    def _with_peers(self, snapshot: Snapshot) -> Callable[[Path], Written]:
        def write(path: Path) -> Written:
            self._directory.peers.share(path)
            return snapshot.write(path)

        return write

    def _follow(self, draft: Record, saving: Saving) -> None:
        peers, self.under_way = self._directory.peers, draft
        snapshot = saving.stage()
        if not peers.share(None):  # the first process has a copy of the whole state
            snapshot.release()
            return
        while (path := peers.share(None)) is not None:
            snapshot.write(path)

    def _land(self, save: Save, request: Request, outcome: Outcome) -> None:
        if outcome.record is not None:
            verb = "saved" if outcome.record.reasons == save.reasons else "holds already"
            log.info("%s %s: %s", verb, outcome.record.file, "; ".join(save.reasons))
        else:
            log.warning("%s", outcome.error)
        self._unwritten.discard(self.records[save.id])
        blocked = None  # nothing had to be written
        if request.unchanged is None:
            blocked = self._clock.monotonic() - request.asked if request.blocked is None else request.blocked
        self.landed.append(Landed(save.id, outcome.record, outcome.error, blocked))
        self._wake()

    def _is_written(self, event: Event) -> bool:
        """The newest file that was asked for is of this step, and is there, or is being written.

        Between two events of one step nothing but evaluation runs, so that it holds these very weights.
        """
        newest = self._newest
        if newest is None or newest.step != event.step:
            return False
        if newest.id in self._unwritten:  # asked first: what has landed by now has its last status already
            return True
        record = self._directory.manifest.records.get(newest.id)
        # Not Path.exists, which raises when the disk is broken.
        return record is not None and record.status.on_disk and os.path.exists(record.path)

    def _draft(self, save: Save, event: Event, metadata: Mapping[str, Any], measured: Event, state: State) -> Record:
        return Record(
            id=0,
            file="",
            step=event.step,
            epoch=event.epoch,
            time=event.time,
            wall=event.wall,
            metrics={name: float(value) for name, value in measured.metrics.items()},
            scores=scores_at(self._directory.policy, state, measured),
            contents=self._contents,
            resumable=self._contents == "full",
            run=self.identity.run,
            attempt=self.identity.attempt,
            parent=self.identity.parent,
            exceptional=event.kind is EventKind.EXCEPTION,
            final=event.kind is EventKind.END,
            reasons=save.reasons,
            metadata={**plain(metadata), **self._metadata, "environment": environment()},
        )

    def _supersede(self) -> None:
        if not self._branched:
            supersede(self._directory.manifest, self.identity.run, self.identity.attempt)
            self._branched = True  # not before: what the journal did not take is tried again by the next save
