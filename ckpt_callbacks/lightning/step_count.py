"""The number of steps that a fit has done, even if Lightning counts none."""

from __future__ import annotations

import logging
import weakref
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.core.optimizer import _MockOptimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from ..torch.weights import weights_of
from . import loops
from .manual_gradients import is_nonzero

log = logging.getLogger("ckpt_callbacks")


class StepCount:
    """Lightning's count of optimizer steps, or the number of batches if Lightning counts no step.

    With manual optimization, Lightning counts the steps of `self.optimizers()` in ``training_step``, and nothing else.
    If no optimizer is configured, Lightning certainly counts none. The same is certain if no step was counted although
    an optimizer has stepped or an epoch has changed the weights, and no gradient is waiting for a later step. A module
    may switch to its own optimizer at any time, so this is checked again in each epoch, and whenever the count stands
    still for longer than before.

    Attributes:
        offset: Steps minus batches, if batches are counted. None while Lightning counts.
    """

    def __init__(self) -> None:
        self.offset: int | None = None
        self._begun_at = (0, 0)  # steps and batches at the beginning of the check
        self._hook: RemovableHandle | None = None  # while it is unknown whether Lightning counts
        self._stepped: set[int] = set()  # ids of the parameters that were updated in the running batch
        self._stepping: dict[int, weakref.ref[torch.optim.Optimizer]] = {}
        self._trained: str | None = None  # an identity of the weights
        self._last = 0  # the count at the last batch that was observed
        self._still_at, self._still_since = -1, 0  # the count that last stood still, and the batch that reached it
        self._still = self._longest = 0  # batches without a counted step: at that count, and the most before it

    @property
    def is_of_batches(self) -> bool:
        """True if batches are counted."""
        return self.offset is not None

    def begin(self, trainer: Trainer) -> None:
        """Begin to train. Call it before the count of a checkpoint is restored."""
        self._begun_at = trainer.global_step, loops.batches_trained_in_total(trainer)
        self._last = trainer.global_step
        if trainer.lightning_module.automatic_optimization or self.is_of_batches:
            return
        if all(isinstance(optimizer, _MockOptimizer) for optimizer in trainer.optimizers):
            self._count_batches(trainer)
        else:
            self._watch(trainer)

    def restore(self, trainer: Trainer, saved: int | None) -> None:
        """Continue with the count that a checkpoint holds."""
        if saved is not None:
            self._begun_at = saved, loops.batches_trained_in_total(trainer)
            self._count_batches(trainer)

    def continue_from(self, earlier: StepCount) -> None:
        """Continue with the count of an earlier fit."""
        self.offset = earlier.offset

    def end(self) -> None:
        """End the fit."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def now(self, trainer: Trainer) -> int:
        """Return the number of steps done."""
        if self.offset is None:
            return trainer.global_step
        return loops.batches_trained_in_total(trainer) + self.offset

    def end_batch(self, trainer: Trainer) -> int:
        """Return the number of steps done at the end of a batch."""
        if not (self.is_of_batches or trainer.lightning_module.automatic_optimization):
            self._check(trainer)
        return self.now(trainer)

    def stands_still(self, trainer: Trainer) -> bool:
        """Return whether Lightning has counted no step for more batches in a row than ever before in this fit.

        Call it at the end of each batch in which Lightning has counted none.
        """
        step, batch = trainer.global_step, loops.batches_trained_in_total(trainer)
        if step != self._still_at:
            self._longest = max(self._longest, self._still)
            self._still_at, self._still_since = step, batch - 1
        self._still = batch - self._still_since
        return self._still > self._longest and step != 1  # after one step, nobody knows when the next one is due

    def end_epoch(self, trainer: Trainer) -> None:
        """Check whether an epoch has changed the weights, and watch the optimizers when the next one begins."""
        if trainer.lightning_module.automatic_optimization or self.is_of_batches:
            return
        if self._hook is not None:
            self._decide(trainer, is_uncounted=_trained(trainer) != self._trained)
        if self._hook is None and not self.is_of_batches:
            self._begun_at = trainer.global_step, loops.batches_trained_in_total(trainer)
            self._watch(trainer)

    def unsaved(self, trainer: Trainer) -> list[str]:
        """Return the classes of the optimizers whose state Lightning does not save, because it does not know them."""
        found = (reference() for reference in self._stepping.values())
        known = set(map(id, trainer.optimizers))
        return sorted({type(one).__name__ for one in found if one is not None and one.state and id(one) not in known})

    def _check(self, trainer: Trainer) -> None:
        step = trainer.global_step
        stands_still = step in (self._last, self._still_at) and self.stands_still(trainer)
        self._last = step
        if self._hook is not None:
            self._decide(trainer, is_uncounted=stands_still and bool(self._stepped))
            self._stepped.clear()
        elif stands_still and trainer.world_size == 1:  # several processes decide together, at the same batches
            self._begun_at = step, self._still_since
            self._watch(trainer)

    def _watch(self, trainer: Trainer) -> None:
        def note_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            self._stepping[id(optimizer)] = weakref.ref(optimizer)
            if trainer.global_step == self._begun_at[0]:  # otherwise, Lightning counts
                self._stepped.update(id(p) for group in optimizer.param_groups for p in group["params"])

        self._stepped.clear()
        self._trained = _trained(trainer)
        self._hook = register_optimizer_step_post_hook(note_step)

    def _decide(self, trainer: Trainer, is_uncounted: bool) -> None:
        if trainer.global_step != self._begun_at[0]:
            self.end()
        elif trainer.strategy.reduce_boolean_decision(is_uncounted and not self._awaits_step(trainer), all=False):
            self._count_batches(trainer)

    def _awaits_step(self, trainer: Trainer) -> bool:
        """Return whether gradients are accumulated by hand for an optimizer that has not stepped yet."""
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        parameters = [parameter for group in groups for parameter in group["params"]]
        return any(id(p) not in self._stepped and is_nonzero(p.grad) for p in parameters)

    def _count_batches(self, trainer: Trainer) -> None:
        self.end()
        if not self.is_of_batches and trainer.is_global_zero:
            log.warning(
                "Lightning counts no optimizer step%s, because %s steps none of self.optimizers() in training_step; "
                "batches count as steps, in rules such as Every(steps=n) and in file names",
                f" after step {trainer.global_step}" if trainer.global_step else "",
                type(trainer.lightning_module).__name__,
            )
        steps, batches = self._begun_at
        self.offset = steps - batches


def _trained(trainer: Trainer) -> str | None:
    weights = weights_of(trainer.lightning_module)
    return None if weights is None else weights.trained
