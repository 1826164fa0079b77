"""Where in an epoch a checkpoint is taken, and how a resumed `fit` gets there again."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from enum import Enum
from typing import Any

import torch
from lightning.pytorch import Trainer

from ..torch.rng import random_state, set_random_state
from . import loops
from .data_order import (
    DataOrder,
    fetched_ahead,
    generator_states,
    inexact,
    inexact_always,
    is_plain,
    put_ahead,
    set_generator_states,
)
from .epoch_sums import forgotten_results, restore_results, running_results
from .frozen import freeze, frozen

log = logging.getLogger("ckpt_callbacks")


class Place(str, Enum):
    """Where in an epoch."""

    EPOCH_END = "epoch_end"  # all of the epoch is done
    MID_EPOCH = "mid_epoch"  # a batch is done, and the next one follows
    VALIDATION = "validation"  # a batch is done, and a validation follows


class Position:
    """Follows a training through its epochs.

    Attributes:
        place: Where it is. owed: ``step`` or ``epoch`` in the hooks behind which Lightning still steps
            ReduceLROnPlateau, which it does no more when it resumes from a checkpoint taken there.
        is_partial: The epoch was begun by another process, so that not all of its metrics may be known here.
    """

    def __init__(self) -> None:
        self.place = Place.MID_EPOCH
        self.owed: str | None = None
        self._order = DataOrder()
        self._before_validation: dict[str, Any] = {}
        self.is_partial = False
        self._said = False

    def begin_fit(self) -> None:
        """To be called before the first epoch's iterators are made."""
        self._order.begin_fit()

    def begin_epoch(self, trainer: Trainer) -> None:
        """A new epoch begins."""
        self.place, self.is_partial = Place.MID_EPOCH, False
        self._order.begin_epoch(trainer)

    def await_validation(self, trainer: Trainer) -> None:
        """A batch is done, and a validation comes before the next one."""
        self.place = Place.VALIDATION
        self._before_validation = {"random": random_state(), "progress": loops.validation_progress(trainer)}

    def resume_epoch(self) -> None:
        """The validation is done, and the epoch goes on."""
        self.place = Place.MID_EPOCH

    def end_epoch(self) -> None:
        """The epoch is done."""
        self.place = Place.EPOCH_END

    # -- saving ------------------------------------------------------------------------------------------------------

    def shared_state(self, trainer: Trainer) -> dict[str, Any]:
        """What a checkpoint taken here carries for all processes."""
        owed = self.owed if self.place is not Place.VALIDATION else None
        return {
            "at": self.place.value,
            "owed": loops.owed_plateau_steps(trainer, owed) if owed else [],
            "metrics": loops.plateau_metrics(trainer),
            "stopping": trainer.should_stop,
            "frozen": frozen(trainer.lightning_module),
        }

    def own_state(self, trainer: Trainer) -> dict[str, Any]:
        """What it carries for this process."""
        waiting = self.place is Place.VALIDATION
        state: dict[str, Any] = {"random": self._before_validation["random"] if waiting else random_state()}
        state["generators"] = generator_states(trainer)
        if self.place is not Place.EPOCH_END:
            state["results"] = running_results(trainer)
            if is_plain(trainer):
                state["order"] = self._order.state()
            state["ahead"] = fetched_ahead(trainer)
        return state

    def mend(self, trainer: Trainer, saved: dict[str, Any]) -> None:
        """Put right what Lightning writes of its ``loops`` at this place."""
        if self.place is Place.EPOCH_END:
            loops.mark_epoch_complete(saved)
        elif self.place is Place.VALIDATION:
            loops.mark_validation_due(saved, self._before_validation["progress"])
        if not self._said and (why := self._inexact(trainer)) is not None:
            self._said = True
            log.warning("checkpoints are resumed with perhaps other batches than the next ones: %s", why)

    def _inexact(self, trainer: Trainer) -> str | None:
        if (why := inexact_always(trainer)) is not None or self.place is Place.EPOCH_END:
            return why
        if names := forgotten_results(trainer):
            return f"the epoch's {', '.join(names)} will leave out its first batches (a torchmetrics object)"
        if trainer.fit_loop.epoch_loop._should_accumulate():
            return "gradients were accumulated that no checkpoint holds; expected a save at an optimizer step"
        return inexact(trainer)

    # -- resuming ----------------------------------------------------------------------------------------------------

    def restore(
        self, trainer: Trainer, shared: dict[str, Any], own: dict[str, Any] | None, loaders: Sequence[dict[str, Any]]
    ) -> None:
        """Bring a `fit` that loaded a checkpoint to the place where that was taken; to be called as training begins.

        Args:
            trainer: The trainer. shared, own: see `shared_state` and `own_state`; ``own`` is None where there were
                fewer processes. loaders: the states of those that have one.

        Raises:
            ResumeError: the data is no longer what it was.
        """
        self.place = Place(shared["at"])
        if "frozen" in shared:
            freeze(trainer.lightning_module, shared["frozen"])
        if self.place is Place.EPOCH_END:
            loops.begin_next_epoch(trainer)
        else:
            if self.place is Place.VALIDATION:
                loops.begin_with_validation(trainer, loaders)
            if own is not None:
                restore_results(trainer, own["results"])
                self._skip(trainer, own)
                loops.reload(trainer, loaders)
                put_ahead(trainer, own["ahead"])
        loops.restore_metrics(trainer, shared["metrics"])
        loops.pay_plateau_steps(trainer, shared["owed"])
        if own is not None:
            set_random_state(own["random"])
            set_generator_states(trainer, own["generators"])
        if self.place is Place.VALIDATION:
            self.await_validation(trainer)
        self.is_partial = self.place is not Place.EPOCH_END
        loops.stop_as_before(trainer, shared["stopping"])

    def _skip(self, trainer: Trainer, own: dict[str, Any]) -> None:
        batches = loops.batches_done(trainer)
        if "order" not in own or not is_plain(trainer) or not batches:
            return
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
        self._order.skip(trainer, own["order"], 0 if loops.epoch_is_whole(trainer) else batches)
        log.info("left out the %d batches of the epoch that were trained already", batches)


def gather(own: dict[str, Any], world_size: int) -> list[dict[str, Any]]:
    """``own`` of each process, by rank. All processes call it together."""
    if world_size == 1:
        return [own]
    states: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(states, own)
    return states
