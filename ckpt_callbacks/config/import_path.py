"""Functions by their place: ``pkg.mod:name``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from ..errors import PolicyError


def find(reference: str) -> Any:
    """The object that ``pkg.mod:name`` stands for. Its module is imported, so this runs code."""
    module, _, name = reference.partition(":")
    return attrgetter(name)(importlib.import_module(module))


def reference_to(function: Callable[..., Any]) -> str:
    """``pkg.mod:name``, by which `find` finds ``function`` again.

    Raises:
        PolicyError: it has no such place: a lambda, an inner function, one of the script that runs.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    try:
        # What runs as __main__ now has another name, or none, for whoever reads the file.
        if module and name and module != "__main__" and find(f"{module}:{name}") is function:
            return f"{module}:{name}"
    except (ImportError, AttributeError):
        pass
    raise PolicyError(
        f"{name or function!r} cannot be written as pkg.mod:fn; expected a function at the top of a module to import"
    )
