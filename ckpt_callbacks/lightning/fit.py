"""One call of `Trainer.fit`: what it reports to its run, and how it is saved."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from lightning.pytorch import Trainer

from ..events import Event, EventKind
from ..policy.decision import Decision
from ..record import Record
from ..run.listeners import Listener
from ..run.run import Run
from ..torch.staging import TorchStaging
from . import loops, validations
from .averaging import AveragedWeights
from .batch_gate import BatchGate
from .checkpoint_io import StagedCheckpointIO
from .embedded import Place
from .exactness import Inexactness
from .fit_call import is_resuming, path_being_loaded, refuse_fewer_epochs, refuse_to_begin_again
from .metrics import FreshMetrics
from .module_hooks import ModuleHooks
from .nothing_left import end_untrained
from .preemption import end_of, is_preemption, set_exit_code
from .previous_fit import PreviousFit
from .processes import TrainerProcesses, hold_sigterm, leave_at_exit
from .progress import Progress
from .refused_types import RefusedTypes
from .resume_point import ResumePoint
from .source import TrainerSource
from .starting_point import Resume, choose
from .trained_weights import TrainedWeights

log = logging.getLogger("ckpt_callbacks")


class Fit:
    """One call of `Trainer.fit`, from its `setup` to its end.

    Args:
        run: The run of the callback.
        trainer: The trainer.
        staging: ``memory`` or ``none``.
        on_saved: Called on the training thread with each record that is durable and verified.
        previous: The callback's last fit.

    Attributes:
        gate: Determines which batches can be skipped.
        io: Collects the checkpoints.
        averages: Averaged weights, in the model while a validation runs.
        hooks: Defers calls until the module's own hooks have run.
        inexactness: Reports why a resume may differ.
    """

    def __init__(
        self, run: Run, trainer: Trainer, staging: str, on_saved: Callable[[Record], None], previous: PreviousFit
    ) -> None:  # fmt: skip
        self._run, self._trainer, self._previous = run, trainer, previous
        self._listeners: list[Listener] = [on_saved, RefusedTypes()]
        self.gate = BatchGate(run)
        self.io = StagedCheckpointIO(trainer, TorchStaging(staging), run.view)
        self._progress = Progress(self.io.names)
        self.averages = AveragedWeights()
        self._metrics, self._trained = FreshMetrics(), TrainedWeights(trainer, self.averages)
        self.hooks, self.inexactness = ModuleHooks(), Inexactness()
        self._resume_point: ResumePoint | None = None  # until training begins
        self._resumed_at: int | None = None  # the step of the checkpoint that was loaded first
        self._is_training = self._has_validated = False
        self._step = self._epochs = 0
        self._ended_at: int | None = None  # the step of the save made when training began to wind down

    # -- what checkpoints hold ---------------------------------------------------------------------------------------

    @property
    def is_saving(self) -> bool:
        """True while Lightning collects a checkpoint for this fit."""
        return self.io.embedded is not None

    def run_state(self) -> dict[str, Any]:
        """Return the state of the run, for any checkpoint that Lightning collects."""
        embedded = self.io.embedded
        return {"snapshot": self._run.embedded_state() if embedded is None else embedded.run}

    def state(self) -> dict[str, Any]:
        """Return the state of the fit, for a checkpoint. All processes call it together."""
        return self._progress.state(self._trainer, self._epochs, self._metrics.kept(self._trained.batches)).to_dict()

    def correct(self, saved: dict[str, Any]) -> None:
        """Correct the ``loops`` that Lightning writes, and log once why a resume from here may not be exact."""
        self._progress.correct(saved)
        if not self.is_saving:
            self._trained.check_saved()
        self.inexactness.report(self._trainer, self._progress)

    # -- the beginning -----------------------------------------------------------------------------------------------

    def open(self, resume: Resume) -> None:
        """Open the run directory, and take part in saving and loading; ``resume`` is as for `choose`."""
        self._run.processes = TrainerProcesses(self._trainer)
        self._run.open()
        choose(self._run, self._trainer, resume)
        self._run.listeners += self._listeners
        self.io.install()

    def load(self, checkpoint: dict[str, Any], state: Mapping[str, Any] | None) -> None:
        """Process a checkpoint that Lightning loads.

        Args:
            checkpoint: What was loaded.
            state: The state of the callback in it; None if there is none.
        """
        if not is_resuming():
            return
        refuse_fewer_epochs(self._run, self._trainer, checkpoint)
        self._resumed_at = checkpoint.get("global_step", 0)
        if state is None:
            text = "%s: the checkpoint has no state of this callback, so its policy starts from scratch"
            log.warning(text, self._run.dirpath)
        else:
            self._resume_point = ResumePoint.of(self._trainer, self._run, checkpoint, state)
        self._run.restore(None if state is None else state["snapshot"], path_being_loaded())

    def begin(self) -> None:
        """Begin the fit, before the first epoch's iterators are made."""
        self._progress.begin_fit()
        self.io.weights.begin()
        if self._resume_point is not None:
            self._resume_point.optimizers.refuse_others(self._trainer)
        elif not self._trainer.ckpt_path:
            self._previous.compare(self._trainer, self._run, self._progress.steps)

    @property
    def is_resuming(self) -> bool:
        """True until the place where a checkpoint was taken is restored."""
        return self._resume_point is not None

    def start_training(self, leads: bool) -> None:
        """Start training at the checkpoint's place, if there is one. The callback that ``leads`` moves it there."""
        trainer, point, self._resume_point = self._trainer, self._resume_point, None
        self._is_training = True
        self._previous.begin(trainer, self._progress.steps)
        self._progress.begin_training(trainer)
        refuse_to_begin_again(self._run.dirpath, trainer.global_step, self._resumed_at)
        self._trained.begin()
        self._epochs = trainer.current_epoch
        if point is not None:
            self._epochs = self._run.state.epoch if point.state.epochs is None else point.state.epochs
            (point.restore if leads else point.follow)(trainer, self._progress)
        self._step = self._progress.steps.now(trainer)
        self._metrics.begin(trainer, {} if point is None else point.state.measured)
        if self._progress.place is Place.VALIDATION:
            self._trained.await_validation()
        source = TrainerSource(trainer, self.io, self.averages)
        model, fit = trainer.lightning_module, weakref.ref(trainer)
        self._obey(self._run.start(source, step=self._step, epoch=self._epochs, model=model, fit=fit))

    def start_epoch(self) -> None:
        """Start an epoch."""
        self._progress.begin_epoch(self._trainer)

    # -- the events --------------------------------------------------------------------------------------------------

    def end_batch(self) -> None:
        """Report a batch that the gate did not skip, if it completed an update."""
        trainer = self._trainer
        step = self._progress.steps.end_batch(trainer)
        if step == max(self._step, self.gate.step) or self.gate.leaves_out(trainer, step):
            self._trained.end_batch()
            return
        self._step, self._progress.plateau_interval = step, "step"
        self.io.prepare(self._run)
        self.inexactness.begin(self._trainer)
        whole, validates = loops.epoch_is_whole(trainer), validations.validation_follows(trainer)
        later = self._trained.batches if whole or validates else None
        measured = self._metrics.of_step(trainer, self._run.policy, later)
        if not self._run.processes.is_single:
            self._run.agree(step, measured=bool(measured), each_step=self.gate.needs_each_step(trainer))
        weights = object()  # between the two events, nothing changes them
        if validates:
            self._progress.await_validation(trainer)
            self._save_if_urgent()
        elif whole:
            self._progress.finish_batches()
        else:
            self._observe(EventKind.STEP_END, measured, weights=weights)
        if not whole and not validates:  # what is saved before a validation would never be ranked after a kill in it
            self._save_before_winding_down(weights)
        self._progress.plateau_interval = None
        self._trained.end_batch()  # here, as the policy may have just stopped training, and a validation follows then
        self.gate.close(trainer, step, self._progress.steps)

    def begin_validation(self) -> None:
        """Begin a validation. The gate may have skipped the batch before it."""
        if self._is_training:
            self._trained.await_validation()

    def pass_validation_batch(self) -> None:
        """Save during a validation, before or after one of its batches, if a save is urgent."""
        if self._trainer.sanity_checking or not self._is_training:
            return
        self._trained.validate()
        if not self._run.processes.is_single:
            return  # several processes may validate different numbers of batches, so they could not agree here
        if self._trained.were_replaced:
            hold_sigterm(self._trainer, self._run)  # saves wait for the end of the validation
        elif self._progress.place is Place.VALIDATION:
            self._save_if_urgent()

    def validation_metrics(self) -> dict[str, float]:
        """Return what a validation has measured. Call it after `on_validation_end`, before Lightning resets it."""
        return self._metrics.take(self._trained.batches) | self._metrics.of_epoch(self._trainer)

    def end_validation(self, metrics: dict[str, float]) -> None:
        """Report a validation, at once or with the epoch that it ends. Call it after the validation's last hook."""
        self._has_validated = True
        self._trained.end_validation()
        if loops.epoch_is_whole(self._trainer):
            self._metrics.keep(metrics, self._trained.batches)  # the epoch's own metrics come with its end
            self._progress.finish_batches()
            return
        self._progress.continue_epoch()
        weights = self._trained.identity_after_validation()
        self._observe(EventKind.VALIDATION_END, metrics, weights=weights)
        self._save_before_winding_down(weights)

    def end_epoch(self) -> None:
        """Report an epoch. An epoch that was cut short does not count."""
        trainer = self._trainer
        self._trained.end_epoch()
        if not loops.epoch_is_whole(trainer):
            self._progress.cut_short()
            return
        self._epochs += 1
        partial = self._progress.is_partial
        metrics = self._metrics.take(self._trained.batches) | self._metrics.of_epoch(trainer, partial)
        self._progress.end_epoch(trainer)
        loops.end_resumed_epoch(trainer)
        complete = (self._has_validated or not trainer.enable_validation) and not partial
        weights, others = self._trained.identity_after_validation(), self._metrics.of_batches(trainer)
        self._observe(EventKind.EPOCH_END, metrics, complete=complete, others=others, weights=weights)

    def end_training(self) -> None:
        """Report the end of training."""
        self._observe(EventKind.END, {}, weights=self._trained.identity())

    def fail(self, exception: BaseException) -> None:
        """End a fit that raised an exception, and save once more if the state is consistent."""
        single = self._run.processes.is_single
        if not single:
            leave_at_exit()
        preempted = is_preemption(exception, self._run)
        can_save = self._run.policy.saves_on_preempt if preempted else single and self._run.is_open
        try:
            if self._is_training and can_save and not (single and self._trained.keep_out(self._run.dirpath)):
                kind = EventKind.PREEMPT if preempted else EventKind.EXCEPTION
                self._observe(kind, {}, weights=self._trained.identity())
            set_exit_code(exception)
        finally:
            self._close(end_of(self._run, exception))

    def end(self) -> None:
        """End a fit that finished normally."""
        if self._resume_point is not None:  # it never began to train
            end_untrained(self._trainer, self._run, self._resume_point, self._previous)
        self._close(self._run.end)

    def _close(self, close: Callable[[], object]) -> None:
        try:
            close()
        finally:
            self._progress.end_fit()
            self.hooks.cancel()
            self._run.listeners[:] = [one for one in self._run.listeners if one not in self._listeners]
            self.io.close()

    def _observe(self, kind: EventKind, metrics: dict[str, float], **facts: Any) -> None:
        self._step, batches = self._progress.steps.now(self._trainer), self._trained.batches
        decision = self._run.observe(Event(kind, self._step, self._epochs, metrics=metrics, batches=batches, **facts))
        if kind is not EventKind.STEP_END:  # next, other callbacks may swap other weights into the model and back
            self.io.staging.wait()
        self._obey(decision, together=kind in (EventKind.VALIDATION_END, EventKind.EPOCH_END))

    def _save_if_urgent(self) -> None:
        self._run.save_if_urgent(step=self._step, epoch=self._epochs, batches=self._trained.batches)
        self.io.staging.wait()  # before, or within, a validation: as in `_observe`

    def _save_before_winding_down(self, weights: Hashable | None) -> None:
        # From here on, Lightning validates and ends a partial epoch, as it does at the end of a whole one. So a resume
        # starts from what is saved here.
        if loops.winding_down(self._trainer) and self._ended_at != self._step:
            self._ended_at = self._step
            self._observe(EventKind.END, {}, weights=weights)

    def _obey(self, decision: Decision, together: bool = False) -> None:
        loops.stop(self._trainer, decision.stop.reasons if decision.stop else (), together)
