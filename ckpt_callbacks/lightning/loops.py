"""The private state of Lightning's loops: their position, and functions that change it."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.fabric.utilities.data import _set_sampler_epoch
from lightning.pytorch import Trainer
from lightning.pytorch.loops.evaluation_loop import RestartStage
from torch.utils.data import DistributedSampler

log = logging.getLogger("ckpt_callbacks")


def epoch_is_whole(trainer: Trainer) -> bool:
    """Return whether all batches of the running epoch ran: as many as planned, or all that the data had."""
    fetcher = trainer.fit_loop._data_fetcher
    return last_batch_was_reached(trainer) or (fetcher is not None and fetcher.done)


def batch_is_running(trainer: Trainer) -> bool:
    """Return whether a batch has begun and is not trained yet."""
    progress = trainer.fit_loop.epoch_loop.batch_progress.current
    return bool(progress.ready != progress.processed)


def batch_is_ending(trainer: Trainer) -> bool:
    """Return whether the hooks of a batch's end run."""
    progress = trainer.fit_loop.epoch_loop.batch_progress.current
    return bool(progress.processed != progress.completed)


def last_batch_was_reached(trainer: Trainer) -> bool:
    """Return whether the latest batch was the last one that Lightning planned. On a resume, the data cannot tell."""
    return trainer.fit_loop.epoch_loop._num_ready_batches_reached()


def batches_done(trainer: Trainer) -> int:
    """Return how many batches of the running epoch were trained on before the checkpoint that a `fit` resumes from."""
    epoch_loop = trainer.fit_loop.epoch_loop
    # A checkpoint that was taken in a batch's last hook does not count that batch yet.
    return epoch_loop.batch_progress.current.completed + int(epoch_loop.restarted_on_train_batch_end)


def batches_trained(trainer: Trainer) -> int:
    """Return how many batches of the running epoch were trained on."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.processed


def batches_trained_in_total(trainer: Trainer) -> int:
    """Return how many batches have been trained so far, by this process or before a resume."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.processed


def batches_begun_in_total(trainer: Trainer) -> int:
    """Return how many batches have begun so far, in this process or before a resume."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready


def winding_down(trainer: Trainer) -> bool:
    """Return whether training ends with the batch that ends now."""
    loop = trainer.fit_loop
    return loop.epoch_loop._is_training_done or (trainer.should_stop and loop._can_stop_early)


def batches_to_skip(trainer: Trainer) -> float:
    """Return how many of the next batches neither end the epoch nor are followed by a validation; a lower bound."""
    epoch_loop = trainer.fit_loop.epoch_loop
    if trainer._val_check_time_interval is not None:
        return 0  # validations are due by the clock
    left = trainer.num_training_batches - epoch_loop.batch_progress.current.ready
    if (every := trainer.val_check_batch) < math.inf:
        done = epoch_loop.total_batch_idx if trainer.check_val_every_n_epoch is None else epoch_loop.batch_idx
        left = min(left, every - (done + 1) % every)
    return left - 1


def max_steps(trainer: Trainer) -> float:
    """Return the number of updates after which training ends."""
    limit = trainer.fit_loop.epoch_loop.max_steps
    return math.inf if limit == -1 else limit


def accumulating(trainer: Trainer) -> bool:
    """Return whether the batch that ends now was not the last one of an update."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def skips_epoch_start(trainer: Trainer) -> bool:
    """Return whether Lightning continues an epoch, and will not call the hooks that begin it."""
    return trainer.fit_loop.restarted_mid_epoch or trainer.fit_loop.restarted_on_epoch_end


@contextlib.contextmanager
def at_step(trainer: Trainer, step: int | None) -> Iterator[None]:
    """Set `trainer.global_step` to ``step`` within the context, unless ``step`` is None."""
    epoch_loop = trainer.fit_loop.epoch_loop
    if trainer.lightning_module.automatic_optimization:
        total = epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
    else:
        total = epoch_loop.manual_optimization.optim_step_progress.total
    now, total.completed = total.completed, total.completed if step is None else step
    try:
        yield
    finally:
        total.completed = now


def running_epoch(trainer: Trainer) -> tuple[Any, Any]:
    """Return what the training loop has logged, and the progress that tells whether a batch is the last one."""
    epoch_loop = trainer.fit_loop.epoch_loop
    return epoch_loop._results, epoch_loop.batch_progress


def loaders(trainer: Trainer) -> list[Any]:
    """Return the training run's data loaders; none before Lightning has created them."""
    combined = trainer.fit_loop._combined_loader
    return [] if combined is None else list(combined.flattened)


def epoch_is_ending(trainer: Trainer) -> bool:
    """Return whether the hooks of an epoch's end run, whether or not all of its batches ran."""
    current = trainer.fit_loop.epoch_progress.current
    return bool(current.processed > current.completed)


def begin_with_epoch_end(trainer: Trainer, states: Sequence[dict[str, Any]]) -> None:
    """Make a resumed `fit` begin with the hooks of the epoch's end, before which the checkpoint was taken.

    Args:
        trainer: The trainer.
        states: The states of stateful loaders.
    """
    trainer.fit_loop.epoch_loop.val_loop._has_run = True  # so that nothing is left to do in the epoch
    _leave_old_data(trainer, states)


def begin_with_validation(trainer: Trainer, states: Sequence[dict[str, Any]]) -> None:
    """Make a resumed `fit` begin with the validation before which the checkpoint was taken.

    Args:
        trainer: The trainer.
        states: The states of stateful loaders.
    """
    val_loop = trainer.fit_loop.epoch_loop.val_loop
    val_loop._restart_stage = RestartStage.RESTARTED_MID_EVALUATION  # so that no batch is trained first
    val_loop.restarting = False  # so that it starts at its first batch
    _leave_old_data(trainer, states)


def _leave_old_data(trainer: Trainer, states: Sequence[dict[str, Any]]) -> None:
    if states and last_batch_was_reached(trainer) and trainer.fit_loop._data_fetcher.length is None:
        _end_old_epoch(trainer, states)
        trainer.fit_loop._data_fetcher.batches.clear()  # it holds a batch of the next epoch


def epoch_is_trained(trainer: Trainer) -> bool:
    """Return whether the epoch's last batch was done when the checkpoint was taken."""
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def continue_after(trainer: Trainer, batches: int) -> None:
    """Let an epoch that is resumed midway continue after a number of its batches."""
    epoch_loop = trainer.fit_loop.epoch_loop
    current = epoch_loop.batch_progress.current
    current.ready = current.started = current.processed = batches
    current.completed = batches - int(epoch_loop.restarted_on_train_batch_end)
    if not batches:
        epoch_loop.restarting = False
        trainer.fit_loop._combined_loader_states_to_load = []
        set_sampler_epoch(trainer)
        iter(trainer.fit_loop._data_fetcher)  # stateful loaders have used their state already


def begin_next_epoch(trainer: Trainer) -> None:
    """Make a resumed `fit` begin with a new epoch, as the uninterrupted one did.

    Otherwise, the loops mistake a run with ``max_steps`` for one that stopped mid-epoch and train one step too many.
    They also read the epoch's data in an order that was drawn before the random state was restored. A stateful data
    loader gets its state back, and draws the next epoch's order from it.
    """
    fit_loop = trainer.fit_loop
    states, fit_loop._combined_loader_states_to_load = fit_loop._combined_loader_states_to_load, []
    if states:
        _end_old_epoch(trainer, states)
    fit_loop.epoch_loop.restarting = False
    fit_loop._restarting = False
    fit_loop._resuming_from_checkpoint = False


def _end_old_epoch(trainer: Trainer, states: Sequence[dict[str, Any]]) -> None:
    loader = trainer.fit_loop._combined_loader
    loader._load_state_dicts(states)
    # The new epoch begins with another `iter`. Do not call the fetcher's `iter`: if the data has no length, it draws a
    # batch that would never be trained.
    iter(loader)


def stop_as_before(trainer: Trainer, stopping: bool) -> None:
    """Stop a resumed `fit` that `EarlyStopping` had stopped and still would. Lightning would train another epoch."""
    for callback in trainer.early_stopping_callbacks:
        if stopping and callback.wait_count >= callback.patience:
            trainer.should_stop = True


def stop(trainer: Trainer, reasons: Sequence[str], together: bool = False) -> None:
    """Stop training if there is any reason to.

    Args:
        trainer: The trainer.
        reasons: Why; empty to continue.
        together: Whether all processes call this, and stop if any of them has a reason.
    """
    should_stop = bool(reasons)
    if together:
        should_stop = trainer.strategy.reduce_boolean_decision(should_stop, all=False)
    if should_stop and not trainer.should_stop:
        trainer.should_stop = True
        log.warning("stopping: %s", "; ".join(reasons or ("another process has a reason",)))


def set_sampler_epoch(trainer: Trainer) -> bool:
    """Set the running epoch in distributed samplers; Lightning does so only later. Return whether there are any."""
    fit_loop = trainer.fit_loop
    for loader in fit_loop._combined_loader.flattened:
        _set_sampler_epoch(loader, fit_loop.epoch_progress.current.processed)
    samplers = [getattr(loader, "sampler", None) for loader in fit_loop._combined_loader.flattened]
    return any(isinstance(sampler, DistributedSampler) for sampler in samplers)


def reload(trainer: Trainer, states: Sequence[dict[str, Any]]) -> None:
    """Load the states of stateful loaders mid-epoch if Lightning has not, or has loaded them in the order of epoch 0.

    Lightning does not load them if the loaders existed before the checkpoint was loaded. For example,
    `trainer.estimated_stepping_batches` creates the loaders, and `configure_optimizers` often uses it.
    """
    fit_loop = trainer.fit_loop
    pending, fit_loop._combined_loader_states_to_load = fit_loop._combined_loader_states_to_load, []
    in_order_of_epoch_0 = set_sampler_epoch(trainer)
    if states and (pending or in_order_of_epoch_0):
        fit_loop._combined_loader._load_state_dicts(states)
        iter(fit_loop._data_fetcher)


def end_resumed_epoch(trainer: Trainer) -> None:
    """Let an epoch that was resumed midway end like any other; Lightning would leave out ReduceLROnPlateau."""
    trainer.fit_loop._restarting = trainer.fit_loop.epoch_loop._restarting = False  # no batch may have done it


def pending_plateau_steps(trainer: Trainer, interval: str) -> list[tuple[int, float]]:
    """Return the schedulers that Lightning will step only after the hook that runs now, each with its value.

    Args:
        trainer: The trainer.
        interval: ``"epoch"`` in the epoch's last hook, ``"step"`` in a batch's.
    """
    epoch_loop = trainer.fit_loop.epoch_loop
    if interval == "step" and epoch_loop._should_accumulate():
        return []
    if interval == "epoch" and not last_batch_was_reached(trainer):
        return []  # the data ended early, so Lightning steps no scheduler
    index = trainer.current_epoch if interval == "epoch" else epoch_loop.batch_idx
    pending = []
    for number, config in enumerate(trainer.lr_scheduler_configs):
        if config.reduce_on_plateau and config.interval == interval and (index + 1) % config.frequency == 0:
            value = trainer.callback_metrics.get(config.monitor)
            if value is not None:
                pending.append((number, float(value)))
    return pending


def apply_plateau_steps(trainer: Trainer, pending: Sequence[tuple[int, float]]) -> None:
    """Take the steps that `pending_plateau_steps` found."""
    for number, value in pending:
        trainer.lightning_module.lr_scheduler_step(trainer.lr_scheduler_configs[number].scheduler, value)


def plateau_metrics(trainer: Trainer) -> dict[str, float]:
    """Return the last values of the metrics that schedulers wait for; Lightning loses them on resume."""
    names = {config.monitor for config in trainer.lr_scheduler_configs if config.reduce_on_plateau}
    return {name: float(trainer.callback_metrics[name]) for name in names if name in trainer.callback_metrics}


def all_metrics(trainer: Trainer) -> dict[str, float]:
    """Return the values of all metrics that callbacks can see."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def restore_metrics(trainer: Trainer, metrics: dict[str, float]) -> None:
    """Restore what `plateau_metrics` or `all_metrics` found."""
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in metrics.items()})
