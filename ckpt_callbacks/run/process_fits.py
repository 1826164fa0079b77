"""The calls of `fit` that this process has made in each run directory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

_fits: dict[Path, ProcessFits] = {}


class ProcessFits:
    """The calls of `fit` that this process has made in one run directory, with any callback.

    A script may call `fit` several times: for each fold, for each phase, or in a loop. When it is started again, its
    calls come in the same order, so the number of a call says which checkpoints belong to it. If an exception
    interrupted a call, the next call repeats it and has the same number.

    Attributes:
        number: The number of the last call, from 1; 0 before the first one.
        run: The run of the last call.
        has_ended: True if the last call ended without an exception.
        passed_over: True if the last call has trained nothing, because an earlier start of the script had completed it.
    """

    def __init__(self) -> None:
        self.number, self.run, self.has_ended, self.passed_over = 0, "", True, False
        self._model: Callable[[], Any] = lambda: None

    @classmethod
    def of(cls, dirpath: Path) -> ProcessFits:
        """Return the calls in a run directory."""
        return _fits.setdefault(dirpath.resolve(), cls())

    @property
    def next_number(self) -> int:
        """The number of the next call."""
        return self.number + self.has_ended

    def were_for(self, model: object) -> bool:
        """Return whether the last call was for this model object."""
        return model is not None and self._model() is model

    def were_for_another(self, model: object) -> bool:
        """Return whether this process has already trained another model here to the end."""
        return self.number > 0 and self.has_ended and not self.passed_over and not self.were_for(model)

    def begin(self, run: str, model: object) -> None:
        """Begin a call.

        Args:
            run: Identifies the run that it belongs to.
            model: The model that it trains; None if that is unknown.
        """
        self.number, self.run, self.has_ended, self.passed_over = self.next_number, run, False, False
        self._model = (lambda: None) if model is None else weakref.ref(model)

    def pass_over(self) -> None:
        """Count a call that loads a checkpoint and trains nothing, so that the next call may load another one."""
        self.begin(self.run, None)
        self.passed_over = True

    def end(self) -> None:
        """End a call that raised no exception."""
        self.has_ended = True

    def forget(self) -> None:
        """Forget all calls: the directory is a new one."""
        self.number, self.run, self.has_ended, self.passed_over = 0, "", True, False
        self._model = lambda: None
