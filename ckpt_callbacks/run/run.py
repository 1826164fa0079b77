"""One training run in one run directory: it connects the engine, which decides, with the store, which saves."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from ..errors import PolicyError
from ..events import Event
from ..policy.decision import Decision
from ..policy.filename import FileName
from ..policy.policy import Policy
from ..policy.state import State
from ..runtime.clock import Clock
from ..runtime.plain_values import plain
from ..runtime.processes import Processes
from ..runtime.worker import BackgroundWorker, InlineWorker, Worker
from ..settings import Settings
from ..store.paths import expanded
from .committer import Committer
from .directory import RunDirectory
from .listeners import Listener
from .named_saves import NamedSaves
from .outside_requests import ControlChannel
from .process_fits import ProcessFits
from .session import Session
from .source import Source
from .step_gate import StepGate
from .view import RunView


class Run:
    """One training run in one run directory, for any framework.

    An adapter opens the directory, starts the run with its `Source`, and reports events. The run asks the engine for
    decisions, carries out saves, reports their outcomes to the engine, and notifies the listeners.

    Args:
        policy: When to save, what to keep, when to stop.
        settings: Everything else.
        suffix: The suffix of the native files, such as ``".ckpt"``.
        framework: Identifies who writes the files, such as ``"lightning"``.
        name: The caller's name in messages, such as ``"LightningCheckpoint"``.
        described: The policy as plain values, for the manifest, so that `ckpt ls` can say what is kept and why.
        clock: Replaceable for tests.

    Attributes:
        dirpath: The run directory.
        policy: As given.
        settings: As given.
        suffix: As given.
        directory: The run directory, which at most one training run at a time holds.
        gate: Says which steps must be reported.
        listeners: Functions that are called with each record once its checkpoint is durable and verified; see
            `Notifier`.
    """

    def __init__(
        self,
        policy: Policy,
        settings: Settings,
        *,
        suffix: str,
        framework: str,
        name: str,
        described: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if settings.dirpath is None:
            raise PolicyError(f"{name}: dirpath is missing; expected the run directory")
        self.dirpath = expanded(f"{name}: dirpath", settings.dirpath).absolute()
        self.policy, self.settings, self.suffix = policy, settings, suffix
        self._clock = clock or Clock()
        self._filename = FileName.of(settings.filename, suffix, settings.metadata, policy.monitored)
        self.directory = RunDirectory(
            self.dirpath, policy, framework, name, plain(described, 12, math.inf), settings, self._new_worker()
        )
        self.gate = StepGate(self._clock)
        self.listeners: list[Listener] = []
        self._control = ControlChannel(
            self.directory.manifest.layout.save_now, settings.grace, self._clock, notify=self.gate.open
        )
        self._worker = self._new_worker()
        self._committer = Committer(
            self.directory, self._worker, self._clock, self._filename, suffix, settings.min_free
        )
        self._session = self._new_session()
        self.directory.announcements.limit(policy, settings)

    @property
    def view(self) -> RunView:
        """The run's checkpoints."""
        return self.directory.view

    @property
    def fits(self) -> ProcessFits:
        """The calls of `fit` that this process has made in the directory."""
        return ProcessFits.of(self.dirpath)

    @property
    def state(self) -> State:
        """The engine's state after the last event."""
        return self._session.decider.state

    @property
    def processes(self) -> Processes:
        """The processes that train together."""
        return self.directory.processes

    @processes.setter
    def processes(self, processes: Processes) -> None:
        self.directory.processes = processes

    @property
    def is_open(self) -> bool:
        """True while this training run holds the directory; see `RunDirectory`."""
        return self.directory.is_open

    @property
    def is_first_fit(self) -> bool:
        """True if this object has not trained yet."""
        return self._session.is_first_fit

    @property
    def should_exit(self) -> bool:
        """True if a signal asks training to end. The next event of a finished step then saves and ends the process."""
        return self._session.should_exit

    @property
    def named(self) -> NamedSaves:
        """The saves that other code decides on and names, with a policy of `NamedOnly`."""
        return self._session.named

    def embedded_state(self) -> dict[str, Any]:
        """Return the run's state for a checkpoint saved by other code; the run's own saves get it in `Embedded.run`."""
        return self._session.saver.embedded_state(self.state)

    # -- the life of a training run ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the directory.

        Raises:
            DirectoryInUse: Another training run holds it.
            StoreError: The directory cannot be written, or holds a run of another framework.
        """
        self.directory.open()
        if self.policy.saves_on_preempt:  # Lightning starts processes before it trains
            self._control.shield_children()
        if self.processes.is_primary and not self.directory.manifest.attempts:
            self.fits.forget()

    def restore(self, embedded: Mapping[str, Any] | None, path: str | PathLike[str] | None = None) -> None:
        """Continue from the state that a checkpoint contains: `Embedded.run`. Announce ``path``, if it is given.

        Without a state, only the lineage continues, if the checkpoint at ``path`` has a record.

        Raises:
            ResumeError: The checkpoint was written by a newer version.
        """
        if self._session.restore(embedded, path):
            self.directory.announcements.resumed_from = path

    def begin_new_run(self) -> None:
        """Forget the run so far: the next `start` begins another run in this directory. Its checkpoints stay."""
        self._session, self.view.current = self._new_session(), ""

    def start(
        self, source: Source, *, step: int, epoch: int, model: object = None, facts: Mapping[str, Any] | None = None,
        fit: object = None, **calls: Callable[[], Any],
    ) -> Decision:  # fmt: skip
        """Begin a `fit`: a fresh one, one after `restore`, or a further one of this object.

        Args:
            source: The training run, as its adapter provides it.
            step: Optimizer updates done so far.
            epoch: Completed epochs.
            model: The model that is trained, by which `fits` distinguishes calls.
            facts: Further plain JSON values to store with this start of training.
            fit: A weak reference that all callbacks of the `fit` share, so that each saves before a signal ends the
                process.
            **calls: ``is_alive``, ``save``, and ``released`` if more than the directory is to be released; see
                `SignalWatch`.

        Returns:
            A decision that may ask to stop at once.
        """
        self._session.begin(source, {"fit": self.fits.next_number, **(facts or {})})
        self.fits.begin(self.view.current, model)
        if self.processes.is_primary:
            self.directory.mirrors.start()
        if self._session.decider.lacks_deadline:
            self.directory.announcements.lack_deadline()
        if self.policy.saves_on_preempt:
            self._control.expect_signals(self.processes, fit, **{"released": self.directory.release, **calls})
        return self.observe(Event.start(step=step, epoch=epoch))

    def observe(self, event: Event) -> Decision:
        """Report one event, whose clocks and deadline the run stamps, and carry out what the policy decides.

        Raises:
            MetricError: A monitored metric is missing for good.
            CommitError: This save or an earlier one failed, with ``on_error="raise"``.
        """
        return self._session.observe(event)

    def save_if_urgent(self, *, step: int, epoch: int, batches: int | None = None) -> None:
        """Save at once if a signal, a save request or a deadline asks for it.

        Call it at moments that are not events: before a validation, and during one. The arguments are those of `Event`.
        """
        self._session.save_if_urgent(Event.step_end(step=step, epoch=epoch, batches=batches))

    def close_gate(self) -> None:
        """Let `gate` skip the next steps, after the last one was observed.

        Processes that train together all skip the same steps, up to the next step at which they `agree`.
        """
        decider, agreed = self._session.decider, self._session.agreed
        if self.processes.is_single:
            self.gate.close_until(decider.horizon, decider.time_zero, self._control.next_poll)
        else:
            self.gate.close_for_all(min(decider.horizon.step, agreed.next))
            agreed.go_on()

    def agree(self, step: int, *, measured: bool, each_step: bool) -> None:
        """Share signals, save requests and finished saves between processes that train together. Collective.

        If any process has a finished save, its outcome is delivered to all of them: to the engine and the listeners.

        Args:
            step: Optimizer updates done so far.
            measured: True if this process has metrics for the step whose end is observed next.
            each_step: True if this process may have such metrics at any step, so that all must agree at each step.
        """
        self._session.agree(step, measured=measured, each_step=each_step)

    def wait(self) -> None:
        """Wait until every requested save has finished. Any process may call this independently."""
        self._worker.wait()
        if self.processes.is_single:  # others deliver outcomes collectively, at the next event
            self._session.outcomes.deliver()

    def begin_without_training(self) -> None:
        """Begin a `fit` after `restore` that has nothing left to train. Collective."""
        self._session.begin_without_training({"fit": self.fits.next_number})

    def end_without_training(self) -> None:
        """End a `fit` that had nothing left to train; its checkpoint becomes ``final``."""
        last, final = self.view.last(), self.view.final()
        if self.processes.is_primary and last is not None and (final is None or final.step < last.step):
            self.directory.manifest.change(last.id, final=True)
            self.directory.links.move()

    def end(self, complete: bool = True) -> None:
        """End a `fit`: `close`, and end the process if a signal came.

        Args:
            complete: False if the signal has ended the `fit`.
        """
        if complete:
            self.fits.end()
        number = self.close()
        if complete and self.processes.is_primary:
            self._session.unranked.report(self.state, self.directory.shown.records())
        if number is not None:
            self._control.end_process(number)

    def close(self) -> signal.Signals | None:
        """Finish pending saves and release the directory. May be called more than once.

        Returns:
            The signal that asked training to end, if any.
        """
        try:
            number = self._control.close()
            self.gate.close()
            self._worker.close()
            if number is None:  # otherwise, the process has to end
                self._committer.quietly(self.directory.room.at_end)
                self._committer.shared_blocks.finish()
                self.directory.mirrors.finish(self.settings.grace / 2)  # a signal may have ended the fit
            self._session.outcomes.deliver(together=False)
            self._session.outcomes.close()
            return number
        finally:
            self._committer.shared_blocks.stop()
            self.directory.release()

    def _new_worker(self) -> Worker:
        return BackgroundWorker() if self.settings.background else InlineWorker()

    def _new_session(self) -> Session:
        return Session(
            self.directory, self.policy, self.settings, self._committer, self._control, self.gate, self.listeners,
            self._filename, self._clock,
        )  # fmt: skip
