"""The weights that a fit trains, and an identity of them."""

from __future__ import annotations

from collections.abc import Hashable

from lightning.pytorch import Trainer

from ..torch.weights import weights_of
from . import loops


class TrainedWeights:
    """The weights of one fit.

    Args:
        trainer: The trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._batches_before = 0

    def begin(self) -> None:
        """Begin to train, after a resume has restored the loops."""
        self._batches_before = loops.batches_trained_in_total(self._trainer)

    @property
    def batches(self) -> int:
        """The number of batches that the fit has trained; see `Event.batches`."""
        return loops.batches_trained_in_total(self._trainer) - self._batches_before

    def identity(self) -> Hashable | None:
        """Return an identity of the weights; see `Event.weights`."""
        weights = weights_of(self._trainer.lightning_module)
        return None if weights is None else (self.batches, weights)
