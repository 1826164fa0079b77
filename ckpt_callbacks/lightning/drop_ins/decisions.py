"""The decisions of Lightning's ModelCheckpoint, with corrections, each of which docs/drop-ins.md names."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from ...config.meaning import Meaning
from ...policy.policy import Policy
from .differences import keeps_newest_last
from .policy_of import meaning_of
from .ranked_models import rank


class Decisions(ModelCheckpoint):
    """ModelCheckpoint with other decisions where the original loses a checkpoint, or takes one for what it is not."""

    _in_batch = False  # True in a batch's hook
    _validated: tuple[int, Tensor | None] = (-1, None)  # the step of the last validation, and what it measured

    def to_policy(self) -> Policy:
        """Return the policy that the arguments mean, for `LightningCheckpoint`; ``print(....to_yaml())`` shows it.

        Raises:
            PolicyError: The callback saves nothing, or keeps the oldest checkpoints, which no policy does.
        """
        return self.explain().policy

    def explain(self) -> Meaning:
        """Return what the arguments mean: the policy and its settings, notes, and what the drop-in does otherwise.

        Raises:
            PolicyError: As for `to_policy`.
        """
        return meaning_of(self)

    # -- a step of this fit is not one at which an earlier fit saved -------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self._last_global_step_saved > trainer.global_step:  # type: ignore[has-type]
            self._last_global_step_saved = 0

    # -- NaN never ranks ---------------------------------------------------------------------------------------------

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Return whether a value ranks. NaN does not, and is saved only where everything is."""
        if isinstance(current, Tensor) and bool(torch.isnan(current).any()):
            return self.save_top_k == -1
        return super().check_monitor_top_k(trainer, current)

    def _update_best_and_save(
        self, current: Tensor, trainer: Trainer, monitor_candidates: dict[str, Tensor]
    ) -> None:  # fmt: skip
        super()._update_best_and_save(current, trainer, monitor_candidates)
        if bool(torch.isnan(current).any()):
            rank(self)

    # -- a value of an earlier validation is not that of these weights -----------------------------------------------

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        waited: bool = self._defer_save_until_validation  # type: ignore[has-type]
        self._in_batch, self._defer_save_until_validation = True, False
        try:
            super().on_train_batch_end(trainer, pl_module, *arguments)
            if self._defer_save_until_validation:
                self._save_last_meanwhile(trainer)
        finally:
            self._in_batch, self._defer_save_until_validation = False, waited or self._defer_save_until_validation

    def _monitor_candidates(self, trainer: Trainer) -> dict[str, Tensor]:
        candidates = super()._monitor_candidates(trainer)
        if self._in_batch and self._is_stale(trainer):  # the original then waits for a validation
            candidates.pop(str(self.monitor), None)
        return candidates

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        if not self._is_stale(trainer):
            super()._save_topk_checkpoint(trainer, monitor_candidates)

    def _is_stale(self, trainer: Trainer) -> bool:
        step, measured = self._validated
        if self.monitor is None or measured is None or step == trainer.global_step:
            return False
        found = trainer.callback_metrics.get(self.monitor)  # each time a new view of the same memory
        return found is not None and found.data_ptr() == measured.data_ptr()

    def _save_what_waited(self, trainer: Trainer) -> None:
        """Save what waited for a validation, for which the original looks only where no epoch's end saves."""
        waited: bool = self._defer_save_until_validation
        self._defer_save_until_validation = False
        candidates = self._monitor_candidates(trainer) if waited else {}
        if self.monitor in candidates and not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)

    # -- the last checkpoint is the newest, not the last best --------------------------------------------------------

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor is not None and not trainer.sanity_checking:
            self._validated = trainer.global_step, trainer.callback_metrics.get(self.monitor)
        super().on_validation_end(trainer, pl_module)
        if not self._should_save_on_train_epoch_end(trainer):
            self._save_newest_as_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self._should_save_on_train_epoch_end(trainer):
            self._save_what_waited(trainer)
            self._save_newest_as_last(trainer)

    def _save_last_meanwhile(self, trainer: Trainer) -> None:
        """Save the last checkpoint at a step whose ranking waits for a validation, which may be hours away."""
        saved: int = self._last_global_step_saved
        if self._may_save_last(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
            self._last_global_step_saved = saved  # the validation may follow at this step, and rank it

    def _save_newest_as_last(self, trainer: Trainer) -> None:
        is_due = self._every_n_epochs >= 1 and (trainer.current_epoch + 1) % self._every_n_epochs == 0
        if is_due and self._may_save_last(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def _may_save_last(self, trainer: Trainer) -> bool:
        """Return whether there is a last checkpoint that is no link, and that is not of this step already."""
        return keeps_newest_last(self) and not self._should_skip_saving_checkpoint(trainer)

    # -- an exception replaces no checkpoint -------------------------------------------------------------------------

    def _should_save_on_exception(self, trainer: Trainer) -> bool:
        return super()._should_save_on_exception(trainer) and trainer.state.fn == TrainerFn.FITTING

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the state in which training failed, under a name that no other checkpoint has."""
        if not self._should_save_on_exception(trainer):
            return
        candidates, counts = self._monitor_candidates(trainer), bool(self._enable_version_counter)  # type: ignore[has-type]
        self._enable_version_counter = True
        filepath = self._get_metric_interpolated_filepath_name(candidates, trainer)
        self._enable_version_counter = counts
        self._save_checkpoint(trainer, filepath)
        self._save_last_checkpoint(trainer, candidates)
        rank_zero_info(f"An {type(exception).__name__} was raised with message: {exception}, saved {filepath}")
