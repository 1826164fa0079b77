"""Carries out the saves that the engine asks for, on all processes of a training together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checkpointer import Checkpointer, Request, SameContent, Write
from .errors import CkptError
from .events import Event, EventKind
from .facts import environment, plain
from .holding import Holding
from .lineage import supersede
from .policy.engine import Save, scores_at
from .policy.naming import FileName
from .policy.state import State
from .record import Record

log = logging.getLogger("ckpt_callbacks")


@dataclass(frozen=True)
class Saving:
    """How an adapter saves, if a save is due; see `Run.observe`."""

    write: Write | None = None
    same: SameContent | None = None
    metadata: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True)
class Identity:
    """Which start of which run the records of a training belong to; see `Record`."""

    run: str
    attempt: int
    parent: int | None


class Saver:
    """Turns a decision to save into a record.

    Args:
        directory: The run directory. checkpointer: writes into it.
        filename: Template of the names. suffix: of the files. contents: ``full`` or ``weights``.
        metadata: Plain facts for every record.

    Attributes:
        identity: Of the training that goes on.
        under_way: The facts of the save that is being carried out.
    """

    def __init__(
        self, directory: Holding, checkpointer: Checkpointer, *, filename: FileName, suffix: str, contents: str,
        metadata: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self._directory, self._checkpointer = directory, checkpointer
        self._filename, self._suffix, self._contents, self._metadata = filename, suffix, contents, metadata
        self.identity = Identity("", 0, None)
        self.under_way: Record | None = None
        self._branched = False

    def begin(self, identity: Identity) -> None:
        """A training begins."""
        self.identity, self._branched = identity, False

    def carry_out(self, save: Save, event: Event, saving: Saving, measured: Event, state: State) -> CkptError | None:
        """Save, and return the error if that failed.

        Args:
            save, event: What the engine decided, and on what. saving: how.
            measured: The event whose metrics are those of the weights that are saved. state: after ``event``.
        """
        leads = self._directory.peers.leader
        draft = self._draft(save, event, saving.metadata() if leads else {}, measured, state)
        self.under_way = draft.replace(id=self._checkpointer.next_id)
        try:
            return self._lead(save, draft, event, saving) if leads else self._follow(saving.write)
        finally:
            self.under_way = None

    def _lead(self, save: Save, draft: Record, event: Event, saving: Saving) -> CkptError | None:
        def write_with_peers(path: Path) -> Any:
            self._directory.peers.share(path)
            return saving.write(path)

        last, outcomes = self._directory.last(), []
        # Between two events of one step nothing but evaluation ran: the weights are on disk already.
        unchanged = last if event.kind is not EventKind.END and last and self._is_this_step(last, event) else None
        name = self._filename.render(draft)
        request = Request(draft, name, self._suffix, write_with_peers, saving.same, unchanged, self._supersede)
        self._checkpointer.save(request, outcomes.append)
        self._directory.peers.share(None)
        outcome = outcomes[0]
        error = self._directory.peers.share(outcome.error)
        if outcome.record is not None:
            verb = "saved" if outcome.record.reasons == save.reasons else "holds already"
            log.info("%s %s: %s", verb, outcome.record.file, "; ".join(save.reasons))
        else:
            log.warning("%s", error)
        return error

    def _follow(self, write: Write) -> CkptError | None:
        while (path := self._directory.peers.share(None)) is not None:
            write(path)
        return self._directory.peers.share(None)

    def _is_this_step(self, record: Record, event: Event) -> bool:
        return (record.step, record.attempt, record.contents) == (event.step, self.identity.attempt, self._contents)

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
            self._branched = True
            supersede(self._directory.manifest, self.identity.run, self.identity.attempt)
