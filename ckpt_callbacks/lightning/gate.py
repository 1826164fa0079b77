"""Lets the batches pass by that can lead to nothing, at the cost of a few comparisons each."""

from __future__ import annotations

import math

from lightning.pytorch import Trainer

from ..run.run import Run
from . import loops
from .metrics import FreshMetrics


class Resting:
    """Counts the batches down that the callback need not look at.

    Args:
        run: The run of one training.

    Attributes:
        step: With manual optimization, the updates after the last batch that passed by.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._quiet = run, run.quiet
        self._left: float = 0
        self._passed = False
        self._manual, self._limit = False, math.inf
        self.step = 0

    def rest(self, trainer: Trainer, step: int) -> None:
        """The batch that ends now was looked at, with its ``step``."""
        self._left, self._passed = 0, False
        self._results, self._batches = loops.running_epoch(trainer)
        if FreshMetrics.come_with_steps(self._results, self._run.policy.monitored):
            return  # the policy is told what each batch measured
        self._run.rest()
        self._manual = not trainer.lightning_module.automatic_optimization
        self._limit = min(self._quiet.step, loops.max_steps(trainer))
        # By itself Lightning takes at most one step a batch; a module that optimizes by itself, as many as it likes.
        steps = math.inf if self._manual else self._limit - step - 1
        self._left = min(loops.batches_to_pass(trainer), steps)
        self._logged = len(self._results)

    def passes(self, trainer: Trainer) -> bool:
        """The batch that ends now can lead to nothing."""
        if self._left <= 0:
            return False
        self._left -= 1  # an infinite number stays what it is, so what was granted tells nothing later
        self._passed = True
        if (
            self._quiet.alarm
            or trainer.should_stop
            or self._batches.is_last_batch
            or len(self._results) != self._logged
        ):
            return False
        if self._manual:
            step = trainer.global_step
            if step >= self._limit:
                return False
            self.step = step
        return True

    def is_amid_update(self, trainer: Trainer) -> bool:
        """After batches that passed by: the one that ends now was no update's last one."""
        return self._passed and not self._manual and loops.accumulating(trainer)
