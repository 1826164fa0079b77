"""The files of a directory that will exist, or will be gone, once everything that was asked for is done."""

from __future__ import annotations

import os

from ...store.layout import require_inside
from .followed_fit import FollowedFit


class ComingFiles:
    """Answers for a directory as if all requests of its fit were done.

    Args:
        fit: The fit.
        dirpath: The directory.
    """

    def __init__(self, fit: FollowedFit, dirpath: str) -> None:
        self._fit, self._dirpath = fit, os.path.abspath(dirpath)
        self._exists: dict[str, bool] = {}

    def name_of(self, path: str | os.PathLike[str]) -> str | None:
        """Return the name of a file in the directory; None if it is elsewhere, or its name is reserved."""
        name = os.path.relpath(os.path.abspath(path), self._dirpath)
        try:
            require_inside(name)
        except ValueError:
            return None
        return name

    def expect(self, name: str, exists: bool) -> None:
        """Note what was asked for."""
        self._exists[name] = exists

    def exists(self, path: str | os.PathLike[str]) -> bool | None:
        """Return whether a file will exist; None if nothing about it was asked for that is not done."""
        if not (self._fit.is_asked or self._fit.run.named.waiting):
            self._exists.clear()
        return self._exists.get(name) if (name := self.name_of(path)) is not None else None
