"""A fast path for batches at which nothing can happen."""

from __future__ import annotations

import math

from lightning.pytorch import Trainer

from ..run.run import Run
from . import loops, validations
from .metrics import has_step_metrics
from .step_count import StepCount


class BatchGate:
    """A countdown of the batches that need not be observed, at the cost of a few comparisons each.

    Args:
        run: The run that the fit reports to.

    Attributes:
        step: With manual optimization, the number of updates done after the last batch that was skipped.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._run_gate = run, run.gate
        self._left: float = 0
        self._skipped, self._single = False, True
        self._manual, self._limit = False, math.inf
        self.step = 0

    def close(self, trainer: Trainer, step: int, steps: StepCount) -> None:
        """Find out how many batches can be skipped after the one that ends now, which was observed at ``step``.

        Args:
            trainer: The trainer.
            step: The number of steps done.
            steps: How steps are counted.
        """
        self._left, self._skipped = 0, False
        self._results, self._batches = loops.running_epoch(trainer)
        self._single = self._run.processes.is_single
        if self._single and has_step_metrics(self._results, self._run.policy.monitored):
            return  # the policy needs the metrics of each batch
        self._run.close_gate()
        self._steps, is_limited = steps, not steps.is_of_batches
        self._manual = is_limited and not trainer.lightning_module.automatic_optimization
        self._limit = min(self._run_gate.step, loops.max_steps(trainer)) if is_limited else self._run_gate.step
        if self._manual:
            self.step = step
        self._logged = len(self._results)
        self._count(trainer, step)

    def needs_each_step(self, trainer: Trainer) -> bool:
        """Return whether the policy needs the metrics of each step, as far as this process knows."""
        policy = self._run.policy
        return policy.compares_steps or has_step_metrics(loops.running_epoch(trainer)[0], policy.monitored)

    def leaves_out(self, trainer: Trainer, step: int) -> bool:
        """Return whether to report nothing about the batch that ends now, which may follow skipped ones.

        This is so if it was not the last batch of an update, or if processes that train together agree at a later step.
        """
        if self._skipped and not self._manual and loops.accumulating(trainer):
            return True
        if self._single or self._run_gate.reports(step) or loops.winding_down(trainer):
            return False
        if loops.epoch_is_whole(trainer) or validations.validation_follows(trainer):
            return False
        self._skipped = True
        if self._manual:
            self.step = step
        self._count(trainer, step)
        return True

    def _count(self, trainer: Trainer, step: int) -> None:
        # Lightning itself takes at most one step per batch; a module that optimizes manually may take any number.
        steps = math.inf if self._manual else self._limit - step - 1
        self._left = min(loops.batches_to_skip(trainer), steps)

    def skips(self, trainer: Trainer) -> bool:
        """Return whether nothing can happen at the batch that ends now."""
        if self._left <= 0:
            return False
        self._left -= 1  # an infinite number stays infinite, so the number granted must not be derived from it
        self._skipped = True
        if trainer.should_stop or self._batches.is_last_batch:
            return False
        if self._single and (self._run_gate.alarm or len(self._results) != self._logged):
            return False  # processes that train together do not know the alarms and metrics of each other
        if self._manual:
            step = trainer.global_step
            if step >= self._limit or (step == self.step and self._steps.stands_still(trainer)):
                return False
            self.step = step
        return True
