"""The validations of a fit, in the private state of Lightning's loops."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer


def validation_follows(trainer: Trainer) -> bool:
    """Return whether a validation follows the batch that ends now, even if nothing asks training to stop."""
    should_stop = trainer.should_stop
    trainer.should_stop = False  # when training should stop, Lightning validates after any batch
    try:
        return validates_next(trainer)
    finally:
        trainer.should_stop = should_stop


def validates_next(trainer: Trainer) -> bool:
    """Return whether a validation follows the batch that ends now."""
    epoch_loop = trainer.fit_loop.epoch_loop
    val_loop = epoch_loop.val_loop
    if not epoch_loop._should_check_val_fx(trainer.fit_loop._data_fetcher):
        return False
    if val_loop._combined_loader is None and trainer.world_size == 1:
        val_loop.setup_data()  # Lightning does this next; a resume leaves out the sanity check, which does it before
    # If the data is empty, Lightning does not call any hook.
    return val_loop._combined_loader is None or not val_loop.skip


def validation_progress(trainer: Trainer) -> dict[str, Any]:
    """Return how many batches have been validated so far."""
    return trainer.fit_loop.epoch_loop.val_loop.batch_progress.state_dict()
