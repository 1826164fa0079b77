"""The part of `KerasCheckpoint` that has to go before all other callbacks, where the rest goes behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras


class Ahead(keras.callbacks.Callback):
    """Passes hooks on.

    Args:
        epoch_begins, epoch_ends: Called at each epoch. train_ends: called when the `fit` ends.
        batch_begins: Called with the number of each batch, where it is given.
    """

    def __init__(
        self,
        epoch_begins: Callable[[], None],
        epoch_ends: Callable[[], None],
        train_ends: Callable[[], None],
        batch_begins: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self._epoch_begins, self._epoch_ends, self._train_ends = epoch_begins, epoch_ends, train_ends
        if batch_begins is not None:
            self.on_train_batch_begin = lambda batch, logs=None: batch_begins(batch)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch_begins()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch_ends()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self._train_ends()
