"""The libraries that an export needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from ..errors import MissingDependency


def require(modules: Iterable[str]) -> None:
    """Make sure, before anything is read or written, that modules can be imported.

    Raises:
        MissingDependency: One of them is not installed.
    """
    for module in modules:
        if not is_installed(module):
            raise MissingDependency.of(module, "export")


def is_installed(module: str) -> bool:
    """Return whether a module can be imported."""
    return importlib.util.find_spec(module) is not None
