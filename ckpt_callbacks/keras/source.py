"""A model in training as the source of a run's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras

from ..formats.keras.suffix import KERAS
from ..run.run import Run
from ..run.snapshot import Snapshot
from ..run.source import Embedded
from .exactness import Inexactness
from .metadata import training_metadata
from .model.current_values import update_variables
from .model.named_weights import named_weights
from .other_callbacks import OtherCallbacks
from .progress import Progress
from .staging import KerasStaging
from .state import fit_state, prepare_state, volatile_state
from .validation import Validation


class ModelSource:
    """The training state of one fit, for `Run.start`.

    Args:
        run: The run of the fit.
        model: The model that is trained.
        others: The other callbacks of the fit.
        staging: The memory that the model is copied into.
        validation: The running validation.
        progress: The position of the fit.
        inexactness: What makes the resumed runs of the fit inexact.
    """

    def __init__(
        self,
        run: Run,
        model: keras.Model,
        others: OtherCallbacks,
        staging: KerasStaging,
        validation: Validation,
        progress: Progress,
        inexactness: Inexactness,
    ) -> None:
        self._run, self._model, self._others, self._staging = run, model, others, staging
        self._validation, self._progress, self._inexactness = validation, progress, inexactness
        self._is_prepared = False

    def snapshot(self, embedded: Embedded) -> Snapshot:
        """Return a snapshot of the training state; see `Source`."""
        model = self._model
        update_variables(model)
        with self._staging.unchanged(model):
            if not embedded.weights_only:
                self._inexactness.report(self._run.dirpath, model)
            volatile = self._validation.state or volatile_state(model, self._others)
            state = fit_state(model, embedded, volatile, self._progress.position())
            if embedded.names:
                named = named_weights(model, self._run.suffix, averaged=self._others.averages_in_model)
                state = replace(state, named=named)
            return self._staging.stage(model, self._run.suffix, state)

    def metadata(self) -> Mapping[str, Any]:
        """Return the metadata of the training run, for a record."""
        update_variables(self._model)
        return training_metadata(self._model)

    def prepare(self) -> None:
        """Allocate staging memory. Call it after the first step, when the optimizer has all its variables."""
        if self._is_prepared:
            return
        self._is_prepared, staging, suffix = True, self._staging, self._run.suffix
        update_variables(self._model)
        arrays = self._others.expected_size(self._model) if suffix == KERAS else 0
        with staging.unchanged(self._model):
            size = staging.expected_size(self._model, suffix, arrays)
            prepare_state(self._model)
        staging.prepare(size)
