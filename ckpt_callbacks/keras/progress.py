"""Where a running `fit` is: in which epoch, at which of its batches, after how many updates."""

from __future__ import annotations

from typing import Any

import keras

from .fit_call import FitCall
from .rng import random_state
from .updates import UpdateCounter


class Progress:
    """Follows one `fit`.

    Args:
        fit: The call. steps: counts its updates. epochs: completed before it.
        skipped: Batches of its first epoch that an earlier attempt trained.

    Attributes:
        epochs: Completed epochs. epochs_before: those before this `fit`. skipped: as above, 0 from the second epoch on.
        batch: Batches of this epoch behind the event that is observed. next_begun: the one behind them has begun.
        begun: The last batch of this epoch that began and is trained now.
        validating: All batches were trained, and the epoch's validation has begun.
        ending: What is left of this epoch does not count: training was told to stop in its middle.
    """

    def __init__(self, fit: FitCall, steps: UpdateCounter, epochs: int, skipped: int = 0) -> None:
        self._fit, self._steps = fit, steps
        self._first_epoch: int | None = None  # as Keras counts them
        self.epochs_before = self.epochs = epochs
        self.skipped = self.batch = skipped
        self.next_begun = self.validating = self.ending = False
        self.begun: int | None = None
        self._begun_before: int | None = None
        self._epoch_random: dict[str, Any] = {}

    @property
    def has_begun(self) -> bool:
        """An epoch has begun."""
        return self._first_epoch is not None

    @property
    def step(self) -> int:
        """Updates done at the event that is observed."""
        return self._steps.at(self.batch)

    def begin_epoch(self, epoch: int) -> None:
        """Keras begins the epoch that it calls ``epoch``."""
        if self._first_epoch is None:
            self._first_epoch, self.epochs_before = epoch, max(self.epochs_before, epoch)
        self.epochs = self.epochs_before + epoch - self._first_epoch
        self._epoch_random = random_state()

    @property
    def step_before(self) -> int:
        """Updates done when the batch before the last one began; 0 where that is none of this epoch."""
        return 0 if self._begun_before is None else self._steps.at(self._begun_before)

    def begin(self, batch: int) -> None:
        """A batch begins that is trained."""
        self._begun_before, self.begun = self.begun, batch

    def batch_of(self, step: float) -> float:
        """Batches of the running epoch that are done when ``step`` updates are."""
        return self._steps.batch_of(step)

    def done(self, model: keras.Model) -> int:
        """Batches of the running epoch that were trained."""
        return self.skipped if self.begun is None else self.bounded(self.begun + model.steps_per_execution)

    def bounded(self, batch: int) -> int:
        """``batch``, or the last one of the epoch: an execution of several batches may end before all of them."""
        batches = self._fit.batches
        return batch if batches is None else min(batch, batches)

    def stand_at(self, batch: int, next_begun: bool = False) -> None:
        """What is observed now happened behind ``batch`` batches of this epoch."""
        self.batch, self.next_begun = batch, next_begun

    def stand_behind_failure(self, model: keras.Model) -> bool:
        """A batch, or the data for one, raised an exception; False when the model's state is between two updates."""
        failed = self.done(model) if self.begun is None else self.begun
        moved = self._steps.count(model, failed) - failed
        self.stand_at(failed + moved, next_begun=moved == 0 and self.begun is not None)
        return 0 <= moved <= model.steps_per_execution

    def begin_validation(self, model: keras.Model) -> bool:
        """A validation begins; False when it is none of this `fit`, but a callback's own."""
        if self.ending:
            return True
        batches, done = self._fit.batches, self.done(model)
        if batches is not None and done < batches:
            return False
        # Keras counts one batch too many where it has only just learned how many there are.
        self.stand_at(self._steps.count(model, done))
        self.validating = True
        return True

    def end_epoch(self, model: keras.Model) -> None:
        """All batches of the epoch were trained."""
        self._steps.end_epoch(model, self.done(model))
        self.begun, self.skipped, self.batch, self.next_begun, self.validating = None, 0, 0, False, False
        self.epochs += 1

    def position(self) -> dict[str, Any]:
        """What a checkpoint carries of this; see `Carried`."""
        return {
            "batch": self.batch,
            "batches": self.batch if self.validating else self._fit.batches,
            "begun": self.next_begun,
            "validating": self.validating,
            "epoch_random": self._epoch_random if self.batch or self.next_begun else {},
        }
