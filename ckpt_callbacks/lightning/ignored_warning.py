"""A warning of Lightning that does not apply to a resumed fit."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any


class IgnoredWarning:
    """A filter for one warning, in force from `begin` to `end`; the user's own filters stay as they are.

    Args:
        message: How the warning's text begins, as a regular expression.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._filter: Any = None

    def begin(self) -> None:
        """Ignore the warning from now on."""
        before = list(warnings.filters)
        warnings.filterwarnings("ignore", self._message)
        if warnings.filters[0] not in before:  # otherwise, the user ignores it too
            self._filter = warnings.filters[0]

    def end(self) -> None:
        """Remove the filter, if it is in force."""
        with contextlib.suppress(ValueError):  # the user may have reset the filters
            warnings.filters.remove(self._filter)  # type: ignore[attr-defined]  # it is a list
        self._filter = None
