"""The running validation of a fit, for which callbacks may replace the trained weights."""

from __future__ import annotations

from collections.abc import Callable

import keras

from .embedded import VolatileState
from .other_callbacks import OtherCallbacks
from .state import volatile_state
from .weights import content


class Validation:
    """The running validation of a fit, if there is one. Urgent saves are possible before it and during it.

    If the model holds weights other than the trained ones, such as averages, urgent saves wait for the epoch's end.

    Args:
        model: The model that is trained.
        others: The other callbacks of the fit.
        save_if_urgent: Makes an urgent save, because the validation may last longer than a signal allows.

    Attributes:
        state: The volatile state when the validation began; None if none is running.
    """

    def __init__(self, model: keras.Model, others: OtherCallbacks, save_if_urgent: Callable[[], None]) -> None:
        self._model, self._others, self._save_if_urgent = model, others, save_if_urgent
        self.state: VolatileState | None = None
        self._trained: str | None = None  # before the hooks of other callbacks, until the first batch
        self._is_replaced = False

    def await_hooks(self) -> None:
        """Note the weights before a validation, when no other callback has replaced them yet."""
        self._trained = content(self._model) if self._others.may_replace_weights else None

    def begin(self) -> None:
        """Begin a validation, after the hooks of the other callbacks."""
        self.state = volatile_state(self._model, self._others)
        self._is_replaced = self._holds_others()
        self._save()

    def begin_batch(self) -> None:
        """Begin a batch of the validation, after the hooks of the other callbacks."""
        if self.state is None:
            return
        self._is_replaced = self._is_replaced or self._holds_others()
        self._trained = None  # only hooks before the first batch replace weights
        self._save()

    def end(self) -> None:
        """End the validation, if one is running."""
        self._save()
        self.state = None

    def _save(self) -> None:
        if self.state is not None and not self._is_replaced:
            self._save_if_urgent()

    def _holds_others(self) -> bool:
        return self._trained is not None and self._trained != content(self._model)
