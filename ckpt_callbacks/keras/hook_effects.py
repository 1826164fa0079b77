"""Possible effects of other callbacks on a fit: they change or replace its weights, log metrics, read batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

_OF_BATCHES = ("on_batch_begin", "on_train_batch_begin", "on_batch_end", "on_train_batch_end")
_OF_VALIDATIONS = ("on_test_begin", "on_test_batch_begin")
_UNTIL_SAVE = (*_OF_VALIDATIONS, "on_test_batch_end", "on_test_end", "on_epoch_end")
_HOOKS = ("on_epoch_begin", *_OF_BATCHES, "on_test_begin")
_ALL = (*_OF_BATCHES, *_UNTIL_SAVE, "on_epoch_begin", "on_train_end")
_CHANGING = (keras.callbacks.LearningRateScheduler, keras.callbacks.SwapEMAWeights)
_HARMLESS = ("keras.src.callbacks.", f"{__package__}.")  # all others of Keras, and those of this package


def may_change_model(callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Return whether a hook that is called again may change the model, its optimizer or the random state.

    A checkpoint that was taken later in the epoch already contains the effects of the hook's first call. No cheap check
    shows whether there were any.

    Args:
        callbacks: The other callbacks of the fit.
    """
    return any(isinstance(callback, _CHANGING) for callback in callbacks) or _have_own(callbacks, *_HOOKS)


def may_replace_weights(callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Return whether a hook may put other weights into the model for a validation, such as averages."""
    swap = any(isinstance(callback, keras.callbacks.SwapEMAWeights) for callback in callbacks)
    return swap or _have_own(callbacks, *_OF_VALIDATIONS)


def may_part_measured_and_saved(callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Return whether a hook may make the weights that are saved others than those that the validation measures."""
    return _have_own(callbacks, *_UNTIL_SAVE)


def may_log(callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Return whether a hook may add metrics to those of an epoch."""
    return _have_own(callbacks, "on_epoch_end")


def see_batches(callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Return whether any callback has its own batch hook, in which it may collect values."""
    return _have_own(callbacks, *_OF_BATCHES)


def may_look_at_files(callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Return whether any callback has a hook of its own, which may read a file that another callback has saved."""
    return _have_own(callbacks, *_ALL)


def _have_own(callbacks: Sequence[keras.callbacks.Callback], *hooks: str) -> bool:
    """Return whether one of the ``hooks`` is neither Keras' nor this package's."""
    return any(not _origin(callback, hook).startswith(_HARMLESS) for callback in callbacks for hook in hooks)


def _origin(owner: Any, hook: str) -> str:
    """Return the name of the Python module that defines a hook."""
    return getattr(getattr(owner, hook), "__module__", None) or ""
