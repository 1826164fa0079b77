"""A helper callback that runs before all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping

import keras

from .interrupt import without_inner_frames
from .other_callbacks import OtherCallbacks
from .progress import Progress
from .resume_point import ResumePoint


class FirstCallback(keras.callbacks.Callback):
    """A callback that runs first in a fit; `KerasCheckpoint` itself runs last.

    Args:
        progress: The position of the fit.
        point: The place where the fit continues. None if it starts from scratch.
        others: The other callbacks of the fit.
        end_epoch: Called when an epoch ends.
        await_validation: Called when a validation begins.
    """

    def __init__(
        self,
        progress: Progress,
        point: ResumePoint | None,
        others: OtherCallbacks,
        end_epoch: Callable[[], None],
        await_validation: Callable[[], None],
    ) -> None:
        super().__init__()
        self._progress, self._point, self._others = progress, point, others
        self._end_epoch, self._await_validation = end_epoch, await_validation
        if point is not None and point.is_between_batches:
            self.on_train_batch_begin = self._begin_batch  # Keras calls this hook at each batch if it exists

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._point is not None and not self._progress.has_begun:
            self._point.before_epoch()
        if self._others.may_change_model:
            self._progress.begin_hooks()

    def _begin_batch(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._point is not None and self._progress.is_first_batch and batch >= self._progress.skipped:
            self._point.before_batch()

    @without_inner_frames
    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._await_validation()

    @without_inner_frames
    def on_epoch_end(self, epoch: int, logs: MutableMapping[str, float] | None = None) -> None:
        if self._point is not None:
            self._point.end_epoch({} if logs is None else logs)
        self._end_epoch()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        # If nothing was left to train, the other callbacks still repeat what they do at the end (such as loading the
        # best weights), and the script may read their state after `fit`.
        if self._point is not None and not self._progress.has_begun:
            self._point.end()
