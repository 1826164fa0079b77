"""The place in a fit where its checkpoint was taken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .batch_skipper import BatchSkipper
from .embedded import FitState
from .fit_call import FitCall
from .global_generators import set_random_state
from .metrics import floats
from .model.build import create_metrics
from .model.unlisted_variables import Uncounted
from .other_callbacks import OtherCallbacks
from .partial_epoch import PartialEpoch
from .state import assign

log = logging.getLogger("ckpt_callbacks")


class ResumePoint:
    """The place in an epoch where a checkpoint was taken, with everything needed to take a fit back there.

    Args:
        path: The checkpoint.
        model: The model, with the checkpoint loaded.
        state: The state that is embedded in the checkpoint.
        call: The call of `fit` that continues.
        others: The other callbacks of that call.
        load_again: Loads the checkpoint once more.

    Attributes:
        path: The checkpoint.
        fit: The number of the script's `fit` that saved the checkpoint.
        batch: Number of batches of the first epoch to skip.
        is_validation: True if the place is in the validation of the first epoch, so that all its batches are skipped.
        trained: See `FitState.trained`.
        partial: The metrics of the running epoch if it was resumed midway.
        is_between_batches: True if the place is after the hooks of one batch and before those of the next.
    """

    def __init__(
        self,
        path: Path,
        model: keras.Model,
        state: FitState,
        call: FitCall,
        others: OtherCallbacks,
        load_again: Callable[[], None],
    ) -> None:
        self.path, self._model, self._state, self._others = path, model, state, others
        self._call, self._load_again, self._is_given_up = call, load_again, False
        self.fit = state.fit
        self._is_same_backend = state.backend == keras.backend.backend()
        self.batch, self.trained, self.is_validation = state.batch, state.trained, state.validating
        self._is_epoch_begin = not (state.batch or state.next_begun or state.validating)
        self._skipper: BatchSkipper | None = None
        self._logs: dict[str, float] = {}  # the metrics of the batches that are skipped
        self.partial: PartialEpoch | None = None  # in the epoch of the checkpoint, if it was taken midway
        if self.is_validation:
            self._warn_of_other_backend()  # all batches were trained on, even if the epoch has a different number now
        elif None not in (call.batches, state.batches) and call.batches != state.batches:
            self._give_up(f"an epoch has {call.batches} batches now, and had {state.batches}")
        elif state.batch % model.steps_per_execution and state.batch != state.batches:
            self._give_up(f"steps_per_execution is {model.steps_per_execution} now")
        elif not self._is_epoch_begin:
            self._warn_of_other_backend()
        self.is_between_batches = self.batch > 0 and not (state.next_begun or state.validating)

    def _warn_of_other_backend(self) -> None:
        if not self._is_same_backend:
            log.warning(
                "%s: was taken after %d batches of an epoch, with the backend %s; with %s the data may come in a "
                "different order", self.path, self.batch, self._state.backend, keras.backend.backend(),
            )  # fmt: skip

    def _give_up(self, problem: str) -> None:
        if not self.batch:
            return
        self.batch, self._is_epoch_begin, self._is_given_up = 0, True, True
        log.warning(
            "%s: was taken after %d batches of an epoch, but %s: that epoch is trained again from its beginning",
            self.path, self._state.batch, problem,
        )  # fmt: skip

    @property
    def ended_by(self) -> str | None:
        """The callback that ended the training here, and would end it again; None if there is none."""
        return self._others.stopped(self._state.volatile.callbacks) if self._is_epoch_begin else None

    def restore_callbacks(self) -> None:
        """Restore the other callbacks; log those whose state exists only here or only in the checkpoint."""
        unmatched = self._others.restore(self._state.volatile.callbacks)
        if unmatched:
            log.warning(
                "%s: the callbacks differ from those in the checkpoint; not restored: %s",
                self.path, ", ".join(unmatched),
            )  # fmt: skip

    def end(self) -> None:
        """Restore the state with which the fit ended, if nothing is left to train."""
        self.restore_callbacks()
        self._set_random_state(self._state.volatile.random)

    def earlier_epochs(self, fit: int) -> int:
        """Return how many of the run's epochs Keras does not count in the ``fit``-th call of the script."""
        return self._state.earlier_epochs if fit == self.fit else 0

    def before_epoch(self) -> None:
        """Restore the state when the first epoch begins, before all other callbacks."""
        self.restore_callbacks()
        calls = -(-self._state.batch // self._model.steps_per_execution)
        self._others.rewind(self._state.batch, begun=calls + (1 if self._state.next_begun else 0))
        if self.batch or self.is_validation:
            self._others.mute(calls)
        random = self._state.hooks_random or self._state.epoch_random  # none was saved at an epoch's beginning
        self._set_random_state(random or self._state.volatile.random)

    def begin_epoch(self) -> None:
        """Skip the batches already trained on, when the first epoch begins, after all other callbacks."""
        if self._is_epoch_begin:
            return
        self._set_random_state(self._state.epoch_random)  # so that the data gets the same order again
        if not (self.batch or self.is_validation):
            return
        model = self._model
        self.partial = PartialEpoch(self.path, restored=self._restore_metrics(), collects=self._others.collect)
        # Before a validation, skip all batches of the epoch: their number may be unknown, or differ between epochs.
        calls = None if self.is_validation else -(-self.batch // model.steps_per_execution)
        self._skipper = BatchSkipper(model, calls, self._logs, drawn=self._see_batch, skipped=self._end_skipping)

    @property
    def omits_batches(self) -> bool:
        """True if the metrics of the running epoch do not cover its first batches."""
        return self.partial is not None and not self.partial.restored

    def end_epoch(self, logs: MutableMapping[str, float]) -> None:
        """Leave out partial metrics, and end the skipping of batches, so that none of the next epoch is skipped."""
        if self.partial is not None:
            self.partial.leave_out(logs)
        if self._skipper is None:
            return
        self._others.unmute()
        self._skipper.end()
        if left := self._skipper.left:
            log.warning(
                "%s: was taken after %d batches of an epoch, but that epoch's data now ends %d batches earlier; "
                "expected the same data", self.path, self.batch, left * self._model.steps_per_execution,
            )  # fmt: skip
        self._skipper = None

    def leave_out_partial(self, metrics: MutableMapping[str, float]) -> bool:
        """Leave out partial metrics that callbacks have added, when an epoch ends, after all other callbacks.

        Returns:
            Whether any metric of the epoch was left out.
        """
        partial, self.partial = self.partial, None
        if partial is None:
            return False
        partial.leave_out_collected(metrics)
        return partial.has_left_out

    def before_batch(self) -> None:
        """Restore the state when the first batch that is not skipped begins, before all other callbacks."""
        if self.is_between_batches:
            self._put_back()

    def begin_batch(self) -> None:
        """Restore the state when the first batch that is not skipped begins, after all other callbacks."""
        if self._state.next_begun and not self._is_epoch_begin:
            self._restore_volatile()
        elif self._is_given_up:
            self._undo_hooks()

    def begin_validation(self) -> None:
        """Restore the state when the validation of the first epoch begins, after all other callbacks."""
        if self._state.validating and not self._is_epoch_begin:
            self._restore_volatile()

    def _restore_metrics(self) -> bool:
        model, values = self._model, self._state.volatile.metrics
        # A callback may have compiled the model again.
        if not (
            assign(model.metrics_variables, values)
            or (self._call.build(model) is None and assign(model.metrics_variables, values))
        ):
            return False
        self._logs.update(floats(model.get_metrics_result()))
        return True

    def _see_batch(self, batch: Any) -> None:
        """Restore the metrics with the first batch that is skipped, if they cannot be created without one."""
        if self.partial is None or self.partial.restored:
            return
        create_metrics(self._model, batch)
        self.partial.restored = self._restore_metrics()
        if not self.partial.restored:
            log.warning(
                "%s: the model's metrics changed; this epoch's values omit the batches before the resume", self.path
            )

    def _end_skipping(self) -> None:
        if self.is_between_batches:
            self._set_random_state(self._state.volatile.random)

    def _restore_volatile(self) -> None:
        self._put_back()
        self._set_random_state(self._state.volatile.random)

    def _put_back(self) -> None:
        """Undo what the hooks of other callbacks have changed since the epoch began; they had run before the save."""
        self._undo_hooks()
        self._others.restore(self._state.volatile.callbacks)
        Uncounted(self._model).assign(self._state.volatile.uncounted)  # a callback may reset states

    def _undo_hooks(self) -> None:
        if self._others.may_change_model:
            self._load_again()

    def _set_random_state(self, state: Mapping[str, np.ndarray]) -> None:
        if self._is_same_backend and state:
            set_random_state(state)
