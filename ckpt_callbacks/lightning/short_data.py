"""Data that ends early: a stream whose `__len__` is too large, or data that is shorter than a limit."""

from __future__ import annotations

import logging

from lightning.pytorch import Trainer

from . import loops

log = logging.getLogger("ckpt_callbacks")


class ShortData:
    """Logs once, when an epoch ends early, what Lightning leaves out in such epochs."""

    def __init__(self) -> None:
        self._was_said = False

    def end_epoch(self, trainer: Trainer) -> None:
        """Check an epoch whose data has ended."""
        if self._was_said or loops.last_batch_was_reached(trainer):
            return
        self._was_said = True
        log.warning(
            "the training data ended after %d of %s batches: Lightning skips the validation and the schedulers of this "
            "epoch, because they come after the last planned batch; expected data that is as long as its `__len__` and "
            "limit_train_batches say",
            loops.batches_trained(trainer),
            trainer.num_training_batches,
        )
