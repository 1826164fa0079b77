"""Averaged weights, which Lightning's `WeightAveraging` puts into a model while it is validated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging

from ..formats import Written
from ..run.snapshot import LiveSnapshot, Snapshot


class Averages:
    """Knows when they are in the model.

    Attributes:
        are_in: A validation runs.
    """

    def __init__(self) -> None:
        self.are_in = False

    def apart(self, trainer: Trainer, stage: Callable[[], Snapshot], wait: Callable[[], None]) -> Snapshot:
        """What ``stage`` returns, of a model with weights of its own: a training goes on from those.

        Args:
            trainer, stage: The training, and what takes its snapshot.
            wait: What is still being copied is not overtaken by what comes.
        """
        if not (self.are_in and _averaging(trainer)):
            return stage()
        with _taken_out(trainer):
            snapshot = stage()
            wait()
        if not snapshot.live:
            return snapshot

        def write(path: Path) -> Written:
            with _taken_out(trainer):
                return snapshot.write(path)

        return LiveSnapshot(write)


def end_averages(trainer: Trainer) -> None:
    """Give the model its averaged weights, as the end of a training does; with nothing to train there is none."""
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
