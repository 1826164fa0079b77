"""The progress of a fit through its epochs and batches."""

from __future__ import annotations

from typing import Any

import keras

from ..run.step_gate import StepGate
from .fit_call import FitCall
from .global_generators import random_state, set_random_state
from .resume_point import ResumePoint
from .update_counter import UpdateCounter


class Progress:
    """The position of a fit: epoch, batch and number of updates.

    Args:
        call: The call of `fit`.
        steps: Counts the updates of the fit.
        gate: Notes each batch that begins.
        epochs: Number of epochs that were completed before the fit.
        point: The place where the fit continues; None if it starts with a new epoch.
        earlier_epochs: Number of epochs of the run that Keras does not count, because earlier fits trained them. Used
            until an epoch begins.

    Attributes:
        epochs: Number of completed epochs.
        epochs_before: Number of epochs that were completed before the fit.
        skipped: Number of batches of the running epoch that are skipped; 0 from the second epoch on.
        is_trained: True if all batches of the running epoch are skipped.
        batch: Number of batches of the running epoch before the observed event.
        next_begun: True if the batch after the observed event has begun.
        validating: True if all batches were trained on and the epoch's validation has begun.
        ending: True if training stops mid-epoch, so that the rest of the epoch does not count.
    """

    def __init__(
        self,
        call: FitCall,
        steps: UpdateCounter,
        gate: StepGate,
        epochs: int,
        point: ResumePoint | None = None,
        earlier_epochs: int = 0,
    ) -> None:
        self._call, self._steps, self._gate = call, steps, gate
        call.watch_data(self._end_data)
        self._first_epoch: int | None = None  # as Keras counts them
        self.epochs_before = self.epochs = epochs
        self._earlier_epochs = earlier_epochs
        self.skipped = self.batch = point.batch if point is not None else 0
        self.is_trained = point is not None and point.is_validation
        self.next_begun = self.validating = self.ending = False
        gate.begun = None
        self._begun_before: int | None = None
        self._trained_before = 0  # batches that the fit trained in earlier epochs
        self._data_ended = self._began_without_data = False
        self._hooks_random: dict[str, Any] = {}
        self._epoch_random: dict[str, Any] = {}

    @property
    def has_begun(self) -> bool:
        """True if an epoch has begun."""
        return self._first_epoch is not None

    @property
    def begun(self) -> int | None:
        """The last batch of the running epoch that began and was not skipped; None before the first one."""
        return self._gate.begun

    @property
    def is_first_epoch(self) -> bool:
        """True if no epoch has ended yet."""
        return self.epochs == self.epochs_before

    @property
    def is_first_batch(self) -> bool:
        """True if no batch has been trained yet."""
        return self.begun is None and self.is_first_epoch

    @property
    def step(self) -> int:
        """The number of updates at the observed event."""
        return self._steps.at(self.batch)

    def begin_hooks(self) -> None:
        """Note the random state before the other callbacks begin an epoch, because they may draw random numbers."""
        self._hooks_random = random_state()

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch; ``epoch`` is its number in Keras."""
        if self._first_epoch is None:
            self._first_epoch, self.epochs_before = epoch, max(self.epochs_before, epoch)
            self._earlier_epochs = self.epochs_before - epoch
        self.epochs = self.epochs_before + epoch - self._first_epoch
        self._data_ended = self._began_without_data = False
        self._epoch_random = random_state()

    def _end_data(self, in_batch: bool) -> None:
        # On torch, Keras draws a batch before it begins.
        self._data_ended, self._began_without_data = True, in_batch and keras.backend.backend() != "torch"

    @property
    def step_before(self) -> int:
        """The number of updates when the batch before the last one began; 0 if that was not in this epoch."""
        return 0 if self._begun_before is None else self._steps.at(self._begun_before)

    def begin(self, model: keras.Model, batch: int) -> None:
        """Begin a batch that is trained."""
        if self.begun is None:
            self._steps.begin_epoch(model, batch)
        self._begun_before, self._gate.begun = self.begun, batch

    def batch_of(self, step: float) -> float:
        """Return the number of batches of the running epoch after which ``step`` updates are done."""
        return self._steps.batch_of(step)

    def done(self, model: keras.Model) -> int:
        """Return the number of batches of the running epoch that were trained on."""
        if self.begun is None:
            return self.skipped
        steps = model.steps_per_execution
        if steps > 1 and (self._data_ended or self._call.batches is None):
            # The last execution may have been short, and only the optimizer can know how short.
            ahead = self._steps.ahead(model, self.begun)
            if ahead is not None and -steps < ahead <= steps:
                return self.begun + ahead
        return self.begun if self._began_without_data else self.bounded(self.begun + steps)

    def is_beyond_data(self, model: keras.Model, batch: int) -> bool:
        """Return whether the execution before ``batch`` was short, so that a batch begins that does not exist."""
        steps = model.steps_per_execution
        if steps == 1 or self._call.batches is not None:
            return False
        ahead = self._steps.ahead(model, batch)
        return ahead is not None and -steps < ahead < 0

    def is_complete(self, model: keras.Model, batches: int | None) -> bool:
        """Return whether all batches of the running epoch were trained on.

        Args:
            model: The model that is trained.
            batches: The number of batches in an epoch, if it is known.
        """
        return self.is_trained or self._data_ended or (batches is not None and self.done(model) >= batches)

    def bounded(self, batch: int) -> int:
        """Return ``batch``, but at most the epoch's batches: an execution of several batches may end early."""
        batches = self._call.batches
        return batch if batches is None else min(batch, batches)

    def move_to(self, batch: int, next_begun: bool = False) -> None:
        """Move to the place after ``batch`` batches of the running epoch, for the event that is observed next."""
        self.batch, self.next_begun = batch, next_begun

    def move_after_failure(self, model: keras.Model) -> bool:
        """Move to the place where a batch or its data raised an exception. Return False if an update was under way."""
        failed = self.done(model) if self.begun is None else self.begun
        moved = self._steps.ahead(model, failed)
        if moved is None:
            return False
        self.move_to(failed + moved, next_begun=moved == 0 and self.begun is not None)
        begun = self._hooks_random or self._epoch_random
        if begun and self.batch == 0 and not self.next_begun:  # a resume begins the epoch and its data again
            set_random_state(begun)
        return 0 <= moved <= model.steps_per_execution

    def begin_validation(self, model: keras.Model) -> None:
        """Begin the validation of this fit. All batches of the epoch are done, unless training stops in mid-epoch."""
        if not self.ending:
            self.move_to(self.done(model))
            self.validating = True

    def end_epoch(self, model: keras.Model) -> None:
        """End an epoch whose batches were all trained."""
        done = self.done(model)
        self._steps.end_epoch(model, done, spare=self._data_ended)
        self._trained_before += done - self.skipped
        self.skipped, self.batch, self.next_begun, self.validating = 0, 0, False, False
        self._gate.begun, self.is_trained = None, False
        self._hooks_random, self._epoch_random = {}, {}
        self.epochs += 1

    def counts(self) -> dict[str, Any]:
        """Return the counts of the observed event, by the fields of `Event`."""
        batches = self._trained_before + self.batch - self.skipped
        return {"step": self.step, "epoch": self.epochs, "batches": batches}

    def position(self) -> dict[str, Any]:
        """Return the fields of `FitState` that describe the position."""
        return {
            "batch": self.batch,
            "earlier_epochs": self._earlier_epochs,
            "batches": self.batch if self.validating else self._call.batches,
            "next_begun": self.next_begun,
            "validating": self.validating,
            "trained": self._steps.trained(self.batch),
            "epoch_random": self._epoch_random if self.batch or self.next_begun else {},
            "hooks_random": self._hooks_random if self.batch or self.next_begun else {},
        }
