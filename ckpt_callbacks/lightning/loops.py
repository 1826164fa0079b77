"""Where Lightning's loops stand. All private names of the loops that this package relies on are in this file."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer


def epoch_is_whole(trainer: Trainer) -> bool:
    """All batches of the running epoch ran."""
    return trainer.fit_loop.epoch_loop._num_ready_batches_reached()


def validation_follows(trainer: Trainer) -> bool:
    """The batch that ends now is followed by a validation."""
    return trainer.fit_loop.epoch_loop._should_check_val_fx(trainer.fit_loop._data_fetcher)


def winding_down(trainer: Trainer) -> bool:
    """Training ends with the batch that ends now."""
    loop = trainer.fit_loop
    return loop.epoch_loop._is_training_done or (trainer.should_stop and loop._can_stop_early)


def mark_epoch_complete(loops: dict[str, Any]) -> None:
    """Mend a checkpoint's ``loops`` that was taken at an epoch's end: the epoch counts as completed.

    Lightning counts it only after its hooks, and would finish it once more on resume.
    """
    progress = loops["fit_loop"]["epoch_progress"]
    for part in ("total", "current"):
        progress[part]["completed"] = progress[part]["processed"]


def begin_next_epoch(trainer: Trainer) -> None:
    """Make a resumed `fit` begin with a new epoch, as the uninterrupted one did.

    Otherwise the loops take a run with ``max_steps`` for one that stopped in mid-epoch and train a step too many, and
    read the epoch's data in an order that was drawn before the random state was restored.
    """
    fit_loop = trainer.fit_loop
    fit_loop.epoch_loop.restarting = False
    fit_loop._restarting = False
    fit_loop._resuming_from_checkpoint = False


def owed_plateau_steps(trainer: Trainer) -> list[tuple[int, float]]:
    """The schedulers that Lightning will step only after the epoch's last hook, each with the value for it."""
    owed = []
    for index, config in enumerate(trainer.lr_scheduler_configs):
        if config.reduce_on_plateau and config.interval == "epoch" and (trainer.current_epoch + 1) % config.frequency == 0:
            value = trainer.callback_metrics.get(config.monitor)
            if value is not None:
                owed.append((index, float(value)))
    return owed


def pay_plateau_steps(trainer: Trainer, owed: list[tuple[int, float]]) -> None:
    """Take the steps that `owed_plateau_steps` found."""
    for index, value in owed:
        trainer.lightning_module.lr_scheduler_step(trainer.lr_scheduler_configs[index].scheduler, value)
