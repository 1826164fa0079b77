"""The running validation of a fit, for which callbacks may replace the trained weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from .embedded import VolatileState
from .guards import Guards
from .other_callbacks import OtherCallbacks
from .state import volatile_state
from .weights import content

log = logging.getLogger("ckpt_callbacks")


class Validation:
    """The running validation of a fit, if there is one. Urgent saves are possible before it and during it.

    If the model holds weights other than the trained ones, such as averages, urgent saves wait for the epoch's end.

    Args:
        model: The model that is trained.
        others: The other callbacks of the fit.
        guards: The guards of the fit.
        save_if_urgent: Makes an urgent save, because the validation may last longer than a signal allows.

    Attributes:
        state: The volatile state when the validation began; None if none is running.
        is_replaced: True if the model holds other weights than the trained ones.
    """

    def __init__(
        self, model: keras.Model, others: OtherCallbacks, guards: Guards, save_if_urgent: Callable[[], None]
    ) -> None:
        self._model, self._others, self._guards, self._save_if_urgent = model, others, guards, save_if_urgent
        self.state: VolatileState | None = None
        self._trained: str | None = None  # before the hooks of other callbacks, until the first batch
        self.is_replaced = False
        self._compares = others.may_part_measured_and_saved
        # What this epoch's validation measured, without what layers may change by themselves, such as counters.
        self._measured: tuple[list[Any], str] | None = None

    @property
    def is_running(self) -> bool:
        """True while a validation runs."""
        return self.state is not None

    def await_hooks(self) -> None:
        """Note the weights before a validation, when no other callback has replaced them yet."""
        self._trained = content(self._model) if self._others.may_replace_weights else None

    def begin(self) -> None:
        """Begin a validation, after the hooks of the other callbacks."""
        self._guards.begin_validation()
        self.state = volatile_state(self._model, self._others, keep=True)
        self.is_replaced = self._holds_others()
        self.save()

    def begin_batch(self) -> None:
        """Begin a batch of the validation, after the hooks of the other callbacks."""
        if not self.is_running:
            return
        self.is_replaced = self.is_replaced or self._holds_others()
        self._trained = None  # only hooks before the first batch replace weights
        if self._compares and self._measured is None:
            trained = list(self._model.trainable_variables)
            self._measured = trained, content(self._model, trained)
        self.save()

    def end(self) -> None:
        """End the validation, if one is running."""
        self.save()
        self.state = None
        self._guards.end_validation()

    def save(self) -> None:
        """Save if a save is urgent, unless the model holds other weights than the trained ones."""
        if self.is_running and not self.is_replaced:
            self._save_if_urgent()

    def end_epoch(self, dirpath: Path) -> None:
        """Log once, at an epoch's end, that its validation measured other weights than the model holds now."""
        measured, self._measured, self.state = self._measured, None, None
        if measured is not None and measured[1] != content(self._model, measured[0]):
            self._compares = False
            log.warning(
                "%s: the last validation measured weights that are not saved, such as averages that were put into the "
                "model for a validation, or weights that a callback has changed after it: the metrics in the records, "
                "which decide what is best, describe the measured weights", dirpath,
            )  # fmt: skip

    def _holds_others(self) -> bool:
        return self._trained is not None and self._trained != content(self._model)
