"""Optimizer updates, counted without asking the optimizer, which costs 40 µs on TensorFlow."""

from __future__ import annotations

import keras


class Steps:
    """How many optimizer updates are done at each batch of the running epoch.

    Reads the optimizer's own counter where a fit or an epoch begins, and counts batches in between. A model that
    trains without moving that counter (a GAN with optimizers of its own) is counted by its batches alone.

    Args:
        model: The model that is trained.
        done: Updates known to be done, for a model that does not count.
        batch: Batches of the running epoch that are done.
    """

    def __init__(self, model: keras.Model, done: int, batch: int = 0) -> None:
        self._per_update = getattr(_innermost(model.optimizer), "gradient_accumulation_steps", None) or 1
        runs = _runs(model)
        self._counting = bool(runs) or (runs == 0 and done == 0)
        self._before = (runs if self._counting else done * self._per_update) - batch

    def at(self, batch: int) -> int:
        """Updates done when ``batch`` batches of the running epoch are."""
        return (self._before + batch) // self._per_update

    def batch_of(self, step: float) -> float:
        """Batches of the running epoch that are done when ``step`` updates are."""
        return step * self._per_update - self._before

    def count(self, model: keras.Model, batch: int) -> int:
        """Batches of the running epoch that are done, as the optimizer counts them; ``batch`` where it does not."""
        runs = _runs(model)
        return runs - self._before if self._counting and runs is not None else batch

    def end_epoch(self, model: keras.Model, batch: int) -> None:
        """The running epoch ended after ``batch`` batches; the next one begins."""
        runs = _runs(model)
        if runs is None or (batch and runs == self._before):
            self._counting = False
        self._before = runs if self._counting else self._before + batch


def has_trained(model: keras.Model) -> bool:
    """The model's optimizer has done an update."""
    return bool(_runs(model))


def _runs(model: keras.Model) -> int | None:
    # The variable behind `iterations`: where gradients are accumulated, it counts batches, and `iterations` updates.
    variable = getattr(_innermost(model.optimizer), "_iterations", None)
    return None if variable is None else int(keras.ops.convert_to_numpy(variable))


def _innermost(optimizer: object) -> object:
    return getattr(optimizer, "inner_optimizer", optimizer)
