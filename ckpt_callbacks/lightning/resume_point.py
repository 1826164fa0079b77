"""The continuation of a fit at the place where its checkpoint was taken."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning.pytorch import Trainer

from ..run.loaded_weights import name_nan
from ..run.run import Run
from ..torch.rng import random_state, set_random_state
from . import loops
from .changed_hyperparameters import name_changed
from .data_order import is_plain, push_prefetched, set_generator_states
from .embedded import FitState, Place, ProcessState
from .epoch_data import batches_in_changed_data
from .epoch_start import begin_epoch_again
from .epoch_sums import restore_epoch_sums
from .finite_weights import weights_are_finite
from .frozen_parameters import unfreeze
from .metric_states import restore_metric_states
from .progress import Progress
from .saved_optimizers import SavedOptimizers

log = logging.getLogger("ckpt_callbacks")


class ResumePoint:
    """The place where a checkpoint was taken, with everything needed to take a fit back there.

    Args:
        state: The embedded state.
        optimizers: The optimizers in the checkpoint.
        checkpoint: What was loaded.
        loaders: The states of stateful loaders.

    Attributes:
        state: As given, with another place if the data has changed.
        optimizers: As given.
    """

    def __init__(
        self,
        state: FitState,
        optimizers: SavedOptimizers,
        run: Run,
        checkpoint: Mapping[str, Any],
        loaders: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.state, self.optimizers, self._run = state, optimizers, run
        self._checkpoint, self._loaders = checkpoint, loaders

    @classmethod
    def of(cls, trainer: Trainer, run: Run, checkpoint: Mapping[str, Any], state: Mapping[str, Any]) -> ResumePoint:
        """Return the resume point of a loaded checkpoint, from which Lightning has not restored its loops yet.

        Args:
            trainer: The trainer.
            run: The run of the callback.
            checkpoint: What was loaded. Positions of stateful loaders that mean nothing here are removed.
            state: The state of the callback in it.
        """
        name_changed(trainer, checkpoint)
        fit = FitState.from_dict(state)
        saved = checkpoint["loops"]["fit_loop"]["state_dict"]
        if len(fit.processes) != trainer.world_size:
            saved.pop("combined_loader", None)
        loaders = saved.get("combined_loader", [])
        optimizers = SavedOptimizers(checkpoint.get("optimizer_states", ()), fit.optimizers)
        return cls(fit, optimizers, run, checkpoint, loaders)

    def restore(self, trainer: Trainer, progress: Progress) -> None:
        """Bring a fit that loaded the checkpoint to its place. Call it when training begins.

        Raises:
            ResumeError: The data has changed.
        """
        state, own = self.state, self._own(trainer)
        name_nan(self._run, trainer.ckpt_path or "", lambda: weights_are_finite(trainer))
        if state.frozen is not None:
            unfreeze(trainer.lightning_module, state.frozen_at_start, state.frozen)
        if state.place is Place.EPOCH_END:
            loops.begin_next_epoch(trainer)
        else:
            before_hooks = own.before_hooks if own is not None else None
            begin_epoch_again(trainer, before_hooks, state.epoch_step, self._checkpoint)
            if self._moves_in_changed_data(trainer, progress, own):
                self.state = replace(state, place=Place.MID_EPOCH)
            else:
                if state.place is Place.VALIDATION:
                    loops.begin_with_validation(trainer, self._loaders)
                elif state.place is Place.TRAINED:
                    loops.begin_with_epoch_end(trainer, self._loaders)
                if own is not None:
                    self._restore_epoch(trainer, progress, own)
        loops.restore_metrics(trainer, state.plateau_metrics)
        loops.apply_plateau_steps(trainer, state.plateau_steps)
        if own is not None:
            set_random_state(own.random)
            set_generator_states(trainer, own.generators)
        self.follow(trainer, progress)
        loops.stop_as_before(trainer, state.should_stop)
        if len(state.processes) != trainer.world_size and trainer.is_global_zero:
            log.warning(
                "the checkpoint has the random states of %d processes, and the training has %d: the order of the data "
                "and other random numbers differ from now on",
                len(state.processes),
                trainer.world_size,
            )

    def end(self, trainer: Trainer) -> bool:
        """Restore the random state with which the fit ended, if nothing is left to train; return whether it is known.

        Before an epoch's end, training may end with a validation, for which loaders draw random numbers.
        """
        own = self._own(trainer)
        if own is None or self.state.place is not Place.EPOCH_END or len(self.state.processes) != trainer.world_size:
            return False
        set_random_state(own.random)
        set_generator_states(trainer, own.generators)
        return True

    def follow(self, trainer: Trainer, progress: Progress) -> None:
        """Move ``progress`` to the place of the checkpoint. Another callback may have moved the fit there already."""
        progress.move_to(self.state, trainer, self._own(trainer))

    def _own(self, trainer: Trainer) -> ProcessState | None:
        ranks = self.state.processes
        return ranks[trainer.global_rank] if trainer.global_rank < len(ranks) else None

    def _moves_in_changed_data(self, trainer: Trainer, progress: Progress, own: ProcessState | None) -> bool:
        """Continue at another batch if the data has changed in the epoch; return whether it has."""
        state = self.state
        processes = len(state.processes)
        if not processes or loops.epoch_is_trained(trainer):
            return False
        if state.data is None and processes == trainer.world_size:
            return False
        batches = batches_in_changed_data(trainer, state.data or (), loops.batches_done(trainer), processes)
        if batches is None:
            return False
        loops.continue_after(trainer, batches)
        if batches and own is not None:
            _restore_metrics(trainer, own)
        if batches and not is_plain(trainer):
            loops.reload(trainer, self._loaders)
        order = (own or state.processes[0]).order
        if order is not None and is_plain(trainer):
            random = random_state()
            progress.order.skip(trainer, order, batches)
            set_random_state(random)  # a new process has its own
        return True

    def _restore_epoch(self, trainer: Trainer, progress: Progress, own: ProcessState) -> None:
        _restore_metrics(trainer, own)
        self._skip_batches(trainer, progress, own)
        loops.reload(trainer, self._loaders)
        push_prefetched(trainer, own.prefetched or [])

    def _skip_batches(self, trainer: Trainer, progress: Progress, own: ProcessState) -> None:
        batches = loops.batches_done(trainer)
        if own.order is None or not is_plain(trainer) or not batches:
            return
        progress.order.skip(trainer, own.order, 0 if loops.last_batch_was_reached(trainer) else batches)
        log.info("skipped the %d batches of the epoch already trained on", batches)


def _restore_metrics(trainer: Trainer, own: ProcessState) -> None:
    restore_epoch_sums(trainer, own.epoch_sums or [])
    restore_metric_states(trainer, own.metric_states or {})
