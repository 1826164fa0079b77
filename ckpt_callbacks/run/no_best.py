"""The line that says why a script that asks for the best checkpoint gets none."""

from __future__ import annotations

from ..policy.state import State
from ..runtime.bare_log import log
from .view import RunView


class NoBest:
    """Logs why `best` returned None, because what a script does with the None fails without a reason."""

    def __init__(self) -> None:
        self._said = ""

    def explain(self, view: RunView, state: State | None = None) -> None:
        """Log the reason, unless the last call logged the same one, or there are no checkpoints at all.

        Args:
            view: The run's checkpoints, none of which is the best.
            state: As for `RunView.why_no_best`.
        """
        if view.missing or not view.records():  # files that are gone were named already
            return
        why = view.why_no_best(state)
        if why != self._said:
            self._said = why
            log.warning("%s: best() is None: %s", view.manifest.layout.dirpath, why)
