"""The part of a fit's progress through its epochs that a checkpoint has to record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Trainer

from ..torch.parameter_names import Names
from . import loops, saved_loops, validations
from .data_order import DataOrder, generator_states, is_plain, prefetched
from .embedded import FitState, Place, ProcessState
from .epoch_data import epoch_data
from .epoch_sums import epoch_sums
from .metric_states import metric_states
from .saved_optimizers import optimizer_classes
from .short_data import ShortData
from .step_count import StepCount


class Progress:
    """The place of a fit in its epoch.

    Args:
        names: Returns the names of the module's parameters.

    Attributes:
        place: Where it is.
        plateau_interval: ``step`` in a batch's hooks, after which Lightning would still step ReduceLROnPlateau. That
            step is lost on resume.
        is_partial: True if another process began the epoch, so that some of its metrics may be unknown here.
        order: What the epoch's data order was drawn from.
        steps: The number of steps done.
    """

    def __init__(self, names: Callable[[], Names]) -> None:
        self._names = names
        self.place = Place.MID_EPOCH
        self.plateau_interval: str | None = None
        self.is_partial = False
        self.order = DataOrder()
        self.steps = StepCount()
        self._before_validation: dict[str, Any] = {}
        self._was_cut_short = False
        self._short_data = ShortData()
        self._epoch_step: int | None = None
        self._frozen_at_start: list[str] | None = None

    def begin_fit(self) -> None:
        """Begin a fit. Call it before the first epoch's iterators are made."""
        self.order.begin_fit()

    def end_fit(self) -> None:
        """End the fit."""
        self.order.end_fit()
        self.steps.end()

    def begin_training(self, trainer: Trainer) -> None:
        """Begin to train. Call it before any part of a checkpoint is restored."""
        self._frozen_at_start = self._names().frozen
        self.steps.begin(trainer)
        self._await_epoch(trainer)

    def begin_epoch(self, trainer: Trainer) -> None:
        """Begin a new epoch."""
        self.place, self.is_partial, self._was_cut_short = Place.MID_EPOCH, False, False
        self.order.begin_epoch(trainer)

    def await_validation(self, trainer: Trainer) -> None:
        """Finish a batch that a validation follows."""
        self.place = Place.VALIDATION
        progress = validations.validation_progress(trainer)
        self._before_validation = {"random": self.order.random_state(), "progress": progress}

    def continue_epoch(self) -> None:
        """Finish a validation after which the epoch continues."""
        self.place = Place.MID_EPOCH

    def finish_batches(self) -> None:
        """Finish the epoch's last batch, and the validation after it if there is one."""
        self.place = Place.TRAINED

    def cut_short(self) -> None:
        """End an epoch before all of its batches ran; a resumed fit trains the others."""
        self._was_cut_short = True

    def end_epoch(self, trainer: Trainer) -> None:
        """Finish the epoch."""
        self.steps.end_epoch(trainer)
        self._short_data.end_epoch(trainer)
        self._await_epoch(trainer)
        self.place = Place.EPOCH_END

    def _await_epoch(self, trainer: Trainer) -> None:
        self.order.end_epoch()
        self._epoch_step = trainer.global_step

    def move_to(self, state: FitState, trainer: Trainer, own: ProcessState | None) -> None:
        """Move to the place where a checkpoint was taken. Call it when the random states are restored.

        Args:
            state: The state in the checkpoint.
            trainer: The trainer.
            own: The state of this process. None if there is none.
        """
        self.place = state.place
        self.steps.restore(trainer, state.steps)
        self._await_epoch(trainer)
        self.is_partial = self.place is not Place.EPOCH_END
        if self.is_partial:
            self._epoch_step = state.epoch_step
            self.order.before_hooks = own.before_hooks if own is not None else None
            if own is not None and own.order is not None:
                self.order.resume(own.order)
        if self.place is Place.VALIDATION:
            self.await_validation(trainer)

    def state(self, trainer: Trainer, epochs: int, measured: dict[str, float]) -> FitState:
        """Return what a checkpoint at this place has to contain. All processes call it together.

        Args:
            trainer: The trainer.
            epochs: Completed epochs.
            measured: The metrics of the last batch, if a later event reports them.
        """
        interval = self._plateau_interval(trainer)
        return FitState(
            self.place,
            plateau_steps=loops.pending_plateau_steps(trainer, interval) if interval else [],
            plateau_metrics=(loops.all_metrics if self.place is Place.TRAINED else loops.plateau_metrics)(trainer),
            should_stop=trainer.should_stop,
            frozen=self._names().frozen,
            frozen_at_start=self._frozen_at_start,
            optimizers=optimizer_classes(trainer),
            epochs=epochs,
            epoch_step=self._epoch_step,
            measured=measured,
            data=None if self.place is Place.EPOCH_END else epoch_data(trainer),
            steps=self.steps.now(trainer) if self.steps.is_of_batches else None,
            processes=_gather(self._process_state(trainer), trainer.world_size),
        )

    def _plateau_interval(self, trainer: Trainer) -> str | None:
        """Return which steps of ReduceLROnPlateau Lightning would still take, and a resumed fit would not."""
        if self.place is Place.MID_EPOCH:
            return self.plateau_interval
        if self.place is Place.TRAINED:
            return None if loops.epoch_is_ending(trainer) else "step"
        return "epoch" if self.place is Place.EPOCH_END and loops.epoch_is_ending(trainer) else None

    def _process_state(self, trainer: Trainer) -> ProcessState:
        before_validation = self.place is Place.VALIDATION
        random = self._before_validation["random"] if before_validation else self.order.random_state()
        generators = generator_states(trainer)
        if self.place is Place.EPOCH_END:
            return ProcessState(random, generators)
        order = self.order.state() if is_plain(trainer) else None
        return ProcessState(
            random, generators, epoch_sums(trainer), order, prefetched(trainer), self.order.before_hooks,
            metric_states(trainer),
        )  # fmt: skip

    def correct(self, saved: dict[str, Any]) -> None:
        """Correct the ``loops`` that Lightning writes at this place."""
        if self.place is Place.EPOCH_END:
            saved_loops.mark_epoch_complete(saved)
        elif self.place is Place.VALIDATION:
            saved_loops.mark_validation_due(saved, self._before_validation["progress"])
        elif self.place is Place.TRAINED:
            saved_loops.mark_epoch_trained(saved)
        else:
            saved_loops.leave_out_begun_batch(saved, self._was_cut_short)


def _gather(own: ProcessState, world_size: int) -> list[ProcessState]:
    """Return the states of all processes, by rank. All processes call it together."""
    if world_size == 1:
        return [own]
    states: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(states, own)
    return states
