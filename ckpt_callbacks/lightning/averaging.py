"""Averaged weights, which Lightning's `WeightAveraging` puts into a model while it is validated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging

from ..formats import Written
from ..run.snapshot import LiveSnapshot, Snapshot


class AveragedWeights:
    """The averaged weights of one training run.

    Attributes:
        in_model: True while a validation runs.
    """

    def __init__(self) -> None:
        self.in_model = False

    def are_saved(self, trainer: Trainer) -> bool:
        """Return whether checkpoints hold averages as the weights of the model."""
        return bool(_averaging(trainer))

    def snapshot_without(
        self, trainer: Trainer, snapshot: Callable[[], Snapshot], wait: Callable[[], None]
    ) -> Snapshot:
        """Return a snapshot of the model with its trained weights, from which a resumed training run continues.

        Args:
            trainer: The trainer.
            snapshot: Takes the snapshot.
            wait: Returns once all copying is done.
        """
        if not (self.in_model and _averaging(trainer)):
            return snapshot()
        with _taken_out(trainer):
            taken = snapshot()
            wait()
        if not taken.live:
            return taken

        def write(path: Path) -> Written:
            with _taken_out(trainer):
                return taken.write(path)

        return LiveSnapshot(write)


def further_epochs(trainer: Trainer) -> int:
    """Return how many epochs a fit has beyond ``max_epochs``: StochasticWeightAveraging adds one for BatchNorm."""
    return sum(
        isinstance(one, StochasticWeightAveraging) and one.pl_module_contains_batch_norm(trainer.lightning_module)
        for one in trainer.callbacks
    )


def end_averages(trainer: Trainer) -> None:
    """Give the model its averaged weights. At the end, Lightning does this only if there was anything to train."""
    for callback in trainer.callbacks:
        if isinstance(callback, WeightAveraging):
            callback.on_train_end(trainer, trainer.lightning_module)


@contextlib.contextmanager
def _taken_out(trainer: Trainer) -> Iterator[None]:
    averaging = _averaging(trainer)
    for callback in averaging:
        callback._swap_models(trainer.lightning_module)
    try:
        yield
    finally:
        for callback in reversed(averaging):
            callback._swap_models(trainer.lightning_module)


def _averaging(trainer: Trainer) -> list[WeightAveraging]:
    found = [callback for callback in trainer.callbacks if isinstance(callback, WeightAveraging)]
    return [callback for callback in found if callback._average_model is not None]
