"""The weights that a fit trains, and an identity of them."""

from __future__ import annotations

import logging
from collections.abc import Hashable

from lightning.pytorch import Trainer

from ..torch.weights import Weights, weights_of
from . import loops

log = logging.getLogger("ckpt_callbacks")


class TrainedWeights:
    """The weights of one fit.

    Args:
        trainer: The trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._batches_before = 0
        self._validated: str | None = None  # what the running, or the last, validation has measured
        self._was_said = False

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

    def validate(self) -> None:
        """Begin a batch of a validation."""
        if self._validated is None and not self._was_said:
            weights = weights_of(self._trainer.lightning_module)
            self._validated = "" if weights is None else weights.trained

    def identity_after_validation(self, averages_are_saved: bool) -> Hashable | None:
        """Return `identity`, and log once if the last validation has measured other weights than those saved now.

        Args:
            averages_are_saved: True if averages were validated, and files hold them as well.
        """
        weights = weights_of(self._trainer.lightning_module)
        validated, self._validated = self._validated, None
        is_new = validated and not averages_are_saved and not self._was_said
        if is_new and weights is not None and weights.trained != validated:
            self._was_said = True
            log.warning(
                "the last validation measured other weights than those that are saved, such as averages that are put "
                "into the model for it: the metrics in the records, and the best checkpoint by them, are of those"
            )
        return self._identity(weights)

    def _identity(self, weights: Weights | None) -> Hashable | None:
        return None if weights is None else (self.batches, weights)
