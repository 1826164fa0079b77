"""The weights that a fit trains, and an identity of them."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from pathlib import Path

from lightning.pytorch import Trainer

from ..torch.weights import Weights, weights_of
from . import loops, validations
from .averaging import AveragedWeights

log = logging.getLogger("ckpt_callbacks")


class TrainedWeights:
    """The weights of one fit. A script may replace them for a validation, for example with averages.

    Args:
        trainer: The trainer.
        averages: The averages of Lightning's own callback. No save mistakes them for the trained weights.
    """

    def __init__(self, trainer: Trainer, averages: AveragedWeights) -> None:
        self._trainer, self._averages = trainer, averages
        self._batches_before = 0
        # The weights before a validation, and how many batches had begun by then.
        self._awaited: tuple[str, int] | None = None
        self._validated: str | None = None  # the weights that the running or the last validation has measured
        self._replaced = False  # True if the last validation measured other weights
        self._was_said = self._was_saved = self._was_left = False

    def begin(self) -> None:
        """Begin to train, after a resume has restored the loops."""
        self._batches_before = loops.batches_trained_in_total(self._trainer)

    @property
    def batches(self) -> int:
        """The number of batches that the fit has trained; see `Event.batches`."""
        return loops.batches_trained_in_total(self._trainer) - self._batches_before

    def identity(self) -> Hashable | None:
        """Return an identity of the weights; see `Event.weights`."""
        return self._identity(weights_of(self._trainer.lightning_module))

    def end_batch(self) -> None:
        """End a batch. Call it when everything that may stop training has run, since that brings a validation."""
        if validations.validates_next(self._trainer):
            self.await_validation()

    def await_validation(self) -> None:
        """Note the weights before a validation, when no hook has replaced them yet."""
        if self._before is None and not self._averages.are_saved(self._trainer):
            self._awaited = self._content(), loops.batches_begun_in_total(self._trainer)

    @property
    def _before(self) -> str | None:
        """The weights before the validation that comes next or runs; None if there is none."""
        if self._awaited is None:
            return None
        content, batches = self._awaited
        # The next batch changes the weights, whether or not Lightning has run the validation.
        return content if batches == loops.batches_begun_in_total(self._trainer) else None

    def validate(self) -> None:
        """Begin a batch of a validation."""
        if self._validated is None:
            self._validated = self._content()

    def end_validation(self) -> None:
        """End a validation."""
        self._replaced = self.were_replaced
        self._awaited = None

    def end_epoch(self) -> None:
        """End an epoch. The validation for which `await_validation` was called may not have run."""
        self._awaited = None

    @property
    def were_replaced(self) -> bool:
        """True if the running validation measures other weights."""
        before = self._before
        return before is not None and before != self._validated

    def keep_out(self, dirpath: Path) -> bool:
        """Return whether the model now holds other weights, which must not be saved. Log it if it does.

        Args:
            dirpath: The run directory.
        """
        replaced = self._are_replaced()
        if replaced:
            log.warning("%s: nothing was saved, because the model holds other weights during the validation", dirpath)
        return replaced

    def check_saved(self) -> None:
        """Log once if the model holds other weights while another callback saves a checkpoint, which contains these."""
        if not self._was_saved and self._are_replaced():
            self._was_saved = True
            log.warning(
                "another callback saves a checkpoint in a validation, and the file holds the weights that the script "
                "has put into the model, not the trained weights; resume from ckpt.resume_path() instead"
            )

    def _are_replaced(self) -> bool:
        before = self._before
        return before is not None and before != self._content()

    def identity_after_validation(self) -> Hashable | None:
        """Return `identity`, and log once if the last validation measured weights other than those saved now."""
        weights = weights_of(self._trainer.lightning_module)
        validated, self._validated = self._validated, None
        replaced, self._replaced = self._replaced, False
        if replaced and not self._was_left and weights is not None and weights.trained == validated:
            self._was_left = True
            log.warning(
                "the model still holds the weights that were put into it for a validation, and checkpoints hold them "
                "as the trained weights; to save the others, put them back in on_validation_end or "
                "on_validation_model_train of the module"
            )
        is_new = validated and not self._was_said and not self._averages.are_saved(self._trainer)
        if is_new and weights is not None and weights.trained != validated:
            self._was_said = True
            log.warning(
                "the last validation measured weights that are not saved, such as averages that were put into the "
                "model for a validation: the metrics in the records, which decide what is best, describe the measured "
                "weights"
            )
        return self._identity(weights)

    def _content(self) -> str:
        weights = weights_of(self._trainer.lightning_module)
        return "" if weights is None else weights.trained

    def _identity(self, weights: Weights | None) -> Hashable | None:
        return None if weights is None else (self.batches, weights)
