"""The state in which an exception leaves a fit."""

from __future__ import annotations

import keras

from .function_guard import StateIsGone
from .progress import Progress
from .validation import Validation

_INCONSISTENT = "the failed step left an inconsistent state"


def why_not_to_save(error: Exception, model: keras.Model, progress: Progress, validation: Validation) -> str:
    """Return why an exception has left nothing that could be saved; empty if the state is consistent.

    Args:
        error: The exception.
        model: The model. On JAX, its variables must be up to date.
        progress: The position of the fit, which moves to the place of the exception.
        validation: The validation of the fit.
    """
    if validation.is_running:
        if validation.is_replaced:
            return "the model holds other weights during the validation"
        return _INCONSISTENT if isinstance(error, StateIsGone) else ""
    if progress.begun is None and progress.skipped:
        return "failed before anything new was trained"
    if isinstance(error, StateIsGone) or not progress.move_after_failure(model):
        return _INCONSISTENT
    return ""
