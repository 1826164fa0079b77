"""Where a running `fit` is: in which epoch, at which of its batches, after how many updates."""

from __future__ import annotations

from typing import Any

import keras

from .fit_call import FitCall
from .rng import random_state
from .steps import Steps


class Progress:
    """Follows one `fit`.

    Args:
        fit: The call. steps: counts its updates. epochs: completed before it.
        skipped: Batches of its first epoch that an earlier attempt trained.

    Attributes:
        epochs: Completed epochs. skipped: as above, 0 from the second epoch on.
        batch: Batches of this epoch behind the event that is observed. next_begun: the one behind them has begun.
        ending: What is left of this epoch does not count: training was told to stop in its middle.
    """

    def __init__(self, fit: FitCall, steps: Steps, epochs: int, skipped: int = 0) -> None:
        self._fit, self._steps = fit, steps
        self._first_epoch: int | None = None  # as Keras counts them
        self._epochs_before = self.epochs = epochs
        self.skipped = self.batch = skipped
        self.next_begun = False
        self.ending = False
        self._begun: int | None = None  # the last batch of this epoch that began
        self._epoch_random: dict[str, Any] = {}

    @property
    def has_begun(self) -> bool:
        """An epoch has begun."""
        return self._first_epoch is not None

    @property
    def at_first_batch(self) -> bool:
        """No batch of this epoch has begun yet that is trained now."""
        return self._begun is None

    @property
    def step(self) -> int:
        """Updates done at the event that is observed."""
        return self._steps.at(self.batch)

    def begin_epoch(self, epoch: int) -> None:
        """Keras begins the epoch that it calls ``epoch``."""
        if self._first_epoch is None:
            self._first_epoch, self._epochs_before = epoch, max(self._epochs_before, epoch)
        self.epochs = self._epochs_before + epoch - self._first_epoch
        self._epoch_random = random_state()

    def begin_batch(self, batch: int) -> None:
        """A batch begins that is trained."""
        self._begun = batch

    def done(self, model: keras.Model) -> int:
        """Batches of the running epoch that were trained."""
        return self.skipped if self._begun is None else self.bounded(self._begun + model.steps_per_execution)

    def bounded(self, batch: int) -> int:
        """``batch``, or the last one of the epoch: an execution of several batches may end before all of them."""
        batches = self._fit.batches
        return batch if batches is None else min(batch, batches)

    def stand_at(self, batch: int, next_begun: bool = False) -> None:
        """What is observed now happened behind ``batch`` batches of this epoch."""
        self.batch, self.next_begun = batch, next_begun

    def end_epoch(self, model: keras.Model) -> None:
        """All batches of the epoch were trained."""
        self._steps.end_epoch(model, self.done(model))
        self._begun, self.skipped, self.batch, self.next_begun = None, 0, 0, False
        self.epochs += 1

    def position(self) -> dict[str, Any]:
        """What a checkpoint carries of this; see `Carried`."""
        return {
            "batch": self.batch,
            "batches": self._fit.batches,
            "begun": self.next_begun,
            "epoch_random": self._epoch_random if self.batch else {},
        }
