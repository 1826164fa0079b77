"""The expected success of later saves, after one that failed."""

from __future__ import annotations

import pickle

_TRIES_AGAIN = "and the next save tries again"


class Outlook:
    """Distinguishes temporary failures from those that will occur at each save."""

    def __init__(self) -> None:
        self._last: str | None = None

    def succeed(self) -> None:
        """Note that a save has succeeded."""
        self._last = None

    def after(self, error: Exception) -> str:
        """Return the end of a sentence about the saves after one that failed."""
        text, last = f"{type(error).__name__}: {error}", self._last
        self._last = text
        if isinstance(error, OSError | MemoryError):  # the cause is the disk or the machine
            return _TRIES_AGAIN
        if _cannot_be_pickled(error):
            return "but the state cannot be pickled, so each save will fail until the script is changed"
        return (
            "but the previous save failed in the same way, so later ones may fail as well"
            if text == last
            else _TRIES_AGAIN
        )


def _cannot_be_pickled(error: Exception) -> bool:
    if isinstance(error, pickle.PicklingError | RecursionError):
        return True
    said = str(error)  # Python 3.13 says of a lambda only that it cannot get a "local object"
    return isinstance(error, TypeError | AttributeError) and ("pickle" in said or "local object" in said)
