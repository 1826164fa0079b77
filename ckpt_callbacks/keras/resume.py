"""Going on from a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from ..errors import ResumeError
from ..formats.keras.refusal import one_line
from .callbacks import OtherCallbacks
from .capture import assign, floats, optimizer_of, seed_variables
from .embedded import Carried
from .fit_call import FitCall
from .model.load import load as load_model
from .rng import set_random_state
from .train_function import StandIn

log = logging.getLogger("ckpt_callbacks")


def load(model: keras.Model, path: Path, carried: Carried, fit: FitCall, scratch: Path) -> None:
    """Bring weights, optimizer and seeds of ``model`` to where they were when ``path`` was written.

    Raises:
        ResumeError: the file was written by another model or optimizer.
    """
    if carried.optimizer not in ("", optimizer_of(model)):
        raise ResumeError(
            f"{path}: was written with the optimizer {carried.optimizer}; {model.name!r} has {optimizer_of(model)}; "
            "compile the model as before, choose another directory, or pass resume='never'"
        )
    _build(model, path, fit)
    if carried.optimizer and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    for name, places in carried.further.items():
        one, weights = getattr(model, name, None), model.weights
        if isinstance(one, keras.optimizers.Optimizer) and not one.built and max(places, default=0) < len(weights):
            one.build([weights[place] for place in places])
    load_model(model, path, scratch, with_optimizer=bool(carried.optimizer))
    if not assign(seed_variables(model), carried.moment.seeds):
        log.warning("%s: the model's random layers differ from those that wrote it; they start anew", path)


def _build(model: keras.Model, path: Path, fit: FitCall) -> None:
    """Create all variables that there will be something to load for."""
    problem = "call model.build()"
    if fit.batch_spec is not None:
        try:
            # What `fit` does before it calls any callback on torch and JAX, and on TensorFlow at the first batch.
            model._symbolic_build(data_batch=fit.batch_spec)
        except (ValueError, RuntimeError) as error:
            problem = f"{one_line(error)}; call model.build()"
    if not (model.built or model.weights):
        raise ResumeError(f"{path}: {model.name!r} has no variables yet to load it into: {problem} before model.fit()")


class Position:
    """Brings a resumed `fit` to the place in the epoch where the checkpoint was taken.

    Args:
        path: The checkpoint. model: the model, loaded already.
        carried: What the checkpoint carries. fit: the call that goes on. siblings: its other callbacks.

    Attributes:
        path: The checkpoint. batch: batches of the first epoch that are skipped.
        between_batches: The place is behind the hooks of one batch and before those of the next.
    """

    def __init__(
        self, path: Path, model: keras.Model, carried: Carried, fit: FitCall, siblings: OtherCallbacks
    ) -> None:
        self.path, self._model, self._carried, self._siblings = path, model, carried, siblings
        self._same_backend = carried.backend == keras.backend.backend()
        self.batch = carried.batch
        self._at_epoch_begin = not (carried.batch or carried.begun)
        if None not in (fit.batches, carried.batches) and fit.batches != carried.batches:
            self._give_up(f"an epoch has {fit.batches} batches now, and had {carried.batches}")
        elif carried.batch % model.steps_per_execution and carried.batch != carried.batches:
            self._give_up(f"steps_per_execution is {model.steps_per_execution} now")
        elif not self._at_epoch_begin and not self._same_backend:
            log.warning(
                "%s: was taken after %d batches of an epoch, with the backend %s; with %s the data may come in "
                "another order", path, carried.batch, carried.backend, keras.backend.backend(),
            )  # fmt: skip
        self.between_batches = self.batch > 0 and not (carried.begun or carried.validating)

    def _give_up(self, problem: str) -> None:
        if not self.batch:
            return
        self.batch, self._at_epoch_begin = 0, True
        log.warning(
            "%s: was taken after %d batches of an epoch, but %s: that epoch is trained again from its beginning",
            self.path, self._carried.batch, problem,
        )  # fmt: skip

    @property
    def ended_by(self) -> str | None:
        """The callback that had ended the training at this place, and would again."""
        return self._siblings.stopped(self._carried.moment.siblings) if self._at_epoch_begin else None

    def restore_siblings(self) -> None:
        """Give the other callbacks their states; says which ones have none."""
        strange = self._siblings.restore(self._carried.moment.siblings)
        if strange:
            log.warning(
                "%s: was written beside other callbacks; without a state to go on from, or without use for theirs: %s",
                self.path, ", ".join(strange),
            )  # fmt: skip

    def before_epoch(self) -> None:
        """To be called when the first epoch begins, before all other callbacks."""
        self.restore_siblings()
        if self._at_epoch_begin:
            self._set_random_state(self._carried.epoch_random or self._carried.moment.random)

    def begin_epoch(self) -> None:
        """To be called when the first epoch begins, after all other callbacks."""
        if self._at_epoch_begin:
            return
        self._set_random_state(self._carried.epoch_random)  # so that the order of the data is drawn as it was
        if not self.batch:
            return
        model = self._model
        if not assign(model.metrics_variables, self._carried.moment.metrics):
            log.warning("%s: its metrics differ; this epoch's ones leave out its first batches", self.path)
        calls = -(-self.batch // model.steps_per_execution)
        StandIn(model, calls, floats(model.get_metrics_result()), ended=self._end_skipping)

    def before_batch(self) -> None:
        """To be called when the first batch begins that is not skipped, before all other callbacks."""
        if self.between_batches:
            self._siblings.restore(self._carried.moment.siblings)

    def begin_batch(self) -> None:
        """To be called when the first batch begins that is not skipped, after all other callbacks."""
        if self._carried.begun and not self._at_epoch_begin:
            self._arrive()

    def begin_validation(self) -> None:
        """To be called when the validation of the first epoch begins, after all other callbacks."""
        if self._carried.validating and not self._at_epoch_begin:
            self._arrive()

    def _end_skipping(self) -> None:
        if self.between_batches:
            self._set_random_state(self._carried.moment.random)

    def _arrive(self) -> None:
        self._set_random_state(self._carried.moment.random)
        self._siblings.restore(self._carried.moment.siblings)

    def _set_random_state(self, state: Mapping[str, np.ndarray]) -> None:
        if self._same_backend and state:
            set_random_state(state)
