"""Going on from a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from ..errors import ResumeError
from . import files
from .capture import assign, floats, optimizer_of, seed_variables
from .carried import Carried
from .fit_call import FitCall
from .rng import set_random_state
from .stand_in import StandIn

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
    files.load(model, path, scratch, with_optimizer=bool(carried.optimizer))
    if not assign(seed_variables(model), carried.seeds):
        log.warning("%s: the model's random layers differ from those that wrote it; they start anew", path)


def _build(model: keras.Model, path: Path, fit: FitCall) -> None:
    """Create all variables that there will be something to load for."""
    problem = "call model.build()"
    if fit.batch_spec is not None:
        try:
            # What `fit` does before it calls any callback on torch and JAX, and on TensorFlow at the first batch.
            model._symbolic_build(data_batch=fit.batch_spec)
        except (ValueError, RuntimeError) as error:
            problem = f"{files.one_line(error)}; call model.build()"
    if not model.built:
        raise ResumeError(f"{path}: {model.name!r} has no variables yet to load it into: {problem} before model.fit()")


class Position:
    """Brings a resumed `fit` to the place in the epoch where the checkpoint was taken.

    Args:
        path: The checkpoint. model: the model, loaded already.
        carried: What the checkpoint carries. fit: the call that goes on.

    Attributes:
        path: The checkpoint. batch: batches of the first epoch that are skipped.
    """

    def __init__(self, path: Path, model: keras.Model, carried: Carried, fit: FitCall) -> None:
        self.path, self._model, self._carried = path, model, carried
        self._same_backend = carried.backend == keras.backend.backend()
        self.batch = carried.batch
        if carried.batch % model.steps_per_execution:
            self._give_up(f"steps_per_execution is {model.steps_per_execution} now")
        elif None not in (fit.batches, carried.batches) and fit.batches != carried.batches:
            self._give_up(f"an epoch has {fit.batches} batches now, and had {carried.batches}")
        elif carried.batch and not (fit.order_returns and self._same_backend):
            log.warning(
                "%s: was taken after %d batches of an epoch, and the data may come in another order now; expected "
                "arrays, the same backend, and keras.utils.set_random_seed() where the script begins",
                path, carried.batch,
            )  # fmt: skip

    def _give_up(self, problem: str) -> None:
        self.batch = 0
        log.warning(
            "%s: was taken after %d batches of an epoch, but %s: that epoch is trained again from its beginning",
            self.path, self._carried.batch, problem,
        )  # fmt: skip

    def begin_epoch(self) -> None:
        """To be called at the beginning of the first epoch, after Keras has reset the metrics."""
        if self.batch == 0:
            self._set_random_state(self._carried.random)
            return
        self._set_random_state(self._carried.epoch_random)  # so that the order of the data is drawn as it was
        model = self._model
        if not assign(model.metrics_variables, self._carried.metrics):
            log.warning("%s: its metrics differ; this epoch's ones leave out its first batches", self.path)
        logs = floats(model.get_metrics_result())
        ended = (lambda: None) if self._carried.begun else self._arrive
        StandIn(model, self.batch // model.steps_per_execution, logs, ended=ended)

    def begin_batch(self) -> None:
        """To be called when the first batch begins that is not skipped."""
        if self.batch and self._carried.begun:
            self._arrive()

    def _arrive(self) -> None:
        self._set_random_state(self._carried.random)

    def _set_random_state(self, state: Mapping[str, np.ndarray]) -> None:
        if self._same_backend and state:
            set_random_state(state)
