"""One training in one run directory: the loop between the engine, which decides, and the store, which keeps.

An adapter tells a `Run` what happens; the run asks the engine, has saves carried out, tells the engine how they went,
and gives the decision back. All that the two frameworks share is here or below.
"""

from __future__ import annotations

import logging
import signal
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..events import EventKind
from ..policy.decision import Decision
from ..policy.filename import FileName
from ..policy.policy import Policy
from ..policy.ranking import last_record
from ..policy.state import State
from ..record import Attempt, Record
from ..runtime.clock import Clock
from ..runtime.environment import environment, job_end, plain
from ..runtime.worker import BackgroundWorker, InlineWorker, Worker
from ..settings import Settings
from .control import Requests
from .decider import Deciding
from .gate import Quiet
from .resume import snapshot_of, state_from
from .saver import Identity, Saver

log = logging.getLogger("ckpt_callbacks")


class Run(Deciding):
    """One training in one run directory.

    Args:
        policy: When to save, what to keep, when to stop.
        settings: Everything else. The run directory is created when it is missing.
        format: Suffix of the checkpoint files, such as ``.ckpt``.
        name: The callback's name in error messages.
        described: The policy as plain values, for the manifest, so that `ckpt ls` can say what is kept and why.
        clock: Replaceable for tests.

    Attributes:
        on_saved: Called on the training's thread with each record that is durable and verified.
    """

    def __init__(
        self,
        policy: Policy,
        settings: Settings,
        *,
        format: str,
        name: str,
        described: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._worker: Worker = BackgroundWorker() if settings.background else InlineWorker()
        dirpath = Path(settings.dirpath).absolute()
        super().__init__(dirpath, policy, self._worker, self._clock, name, settings.min_free)
        self.suffix, self.contents = format, settings.contents
        self.metadata: dict[str, Any] = plain(dict(settings.metadata))
        self.state = State()
        filename = settings.filename
        if isinstance(filename, str):
            filename = filename.removesuffix(format)  # which people type, too
        self._filename = FileName(filename, tuple(self.metadata), tuple(policy.monitored)) if filename else FileName()
        self._on_error, self._described = settings.on_error, described
        self.quiet = Quiet(self._clock)
        self.on_saved: Callable[[Record], None] = lambda record: None
        self._saver = Saver(
            self, self._checkpointer, self._worker, clock=self._clock, filename=self._filename, suffix=format,
            contents=settings.contents, metadata=self.metadata, max_pending=settings.max_pending,
            skips=settings.when_busy == "skip", wake=self.quiet.ring,
        )  # fmt: skip
        self._demanded: set[int] = set()
        self._requests = Requests(self.manifest.layout.save_now, settings.grace, self._clock, self.quiet.ring)
        self._parent: int | None = None
        self._deadline = job_end()
        if settings.contents == "weights":
            log.warning("%s: keeps weights alone; a run cannot be resumed from them", self.dirpath)

    @property
    def is_first_fit(self) -> bool:
        """This object has not trained yet."""
        return self._saver.identity.attempt == 0

    # -- the life of a training --------------------------------------------------------------------------------------

    def end_untrained(self) -> None:
        """A `fit` ends that had nothing left to train: what it was resumed from is how the run ended."""
        last = self.last()
        if self.peers.leader and last is not None and self.final() is None:
            self.manifest.change(last.id, final=True)
            self._checkpointer.restore_aliases(self._run_id)

    def end(self) -> None:
        """A `fit` ended by itself: `close`, and end the process if a signal since the last step asks for it."""
        number = self.close()
        if number is not None:
            self._requests.end_process(number)

    def close(self) -> signal.Signals | None:
        """Finish what is under way and give the directory back. May be called more than once.

        Returns:
            The signal that asked the training to end, if one did.
        """
        try:
            number = self._requests.close()
            self.quiet.close()
            self._worker.close()
            self._take_landed(together=False)
            if self._skipped > 1:
                log.warning(
                    "%s: %d saves were skipped in all, the first one of which was said; max_pending is %d",
                    self.dirpath, self._skipped, self._saver.max_pending,
                )  # fmt: skip
            self._skipped = 0
            return number
        finally:  # a logger may raise
            self.release()

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue from the state that a checkpoint carries (see `snapshot`).

        Raises:
            ResumeError: the snapshot was written by a newer version.
        """
        self.manifest.refresh()
        self.state = state_from(snapshot, self.policy, self.manifest, self.dirpath)
        if any(attempt.run == snapshot["run"] for attempt in self.manifest.attempts):
            self._run_id, self._parent = snapshot["run"], snapshot["record"]

    def start(self, *, step: int, epoch: int) -> Decision:
        """A `fit` begins: fresh, after `restore`, or as a further one of this object. Tells whether to stop at once."""
        if not self.is_first_fit:  # a further `fit` of this object goes on where the last one ended
            last = last_record(self.records())
            self._parent = last.id if last else self._parent
        self._run_id = self._run_id or self.peers.share(uuid.uuid4().hex[:12])
        same_run = [attempt.number for attempt in self.manifest.attempts if attempt.run == self._run_id]
        number = self.peers.share(max(same_run, default=0) + 1)
        self._saver.begin(Identity(self._run_id, number, self._parent))
        self._time_zero = self._clock.monotonic() - self.state.time
        if self._deadline is None and any(leaf.end is None for leaf in self.policy.deadlines):
            log.warning(
                "%s: OnDeadline never saves: SLURM_JOB_END_TIME tells no deadline; give end, as 2026-11-24T23:00:00Z",
                self.dirpath,
            )
        if self.policy.saves_on_preempt:
            self._requests.expect_signals(self.peers)
        if self.peers.leader:
            facts = {"host": environment()["host"], "holder": self._holder, "policy": plain(self._described, 12)}
            try:
                self.manifest.start(Attempt(self._run_id, number, self._parent, self._clock.wall(), facts))
            except OSError as error:
                raise StoreError(f"{self.dirpath}: cannot be written: {error.strerror or error}") from error
        return self.observe(EventKind.START, step=step, epoch=epoch)

    def snapshot(self) -> dict[str, Any]:
        """What a checkpoint carries so that the run can be continued from it: plain JSON values."""
        under_way = self._saver.under_way
        newest = under_way or self.last()
        return snapshot_of(
            self.state, self._run_id, self._saver.identity.attempt,
            record=newest.id if newest else None, under_way=under_way is not None, records=self._saver.records,
        )  # fmt: skip

    def facts(self) -> dict[str, Any] | None:
        """The record of the save that is under way, to be written into the file: it outlives the manifest there."""
        return self._saver.under_way.to_json() if self._saver.under_way else None
