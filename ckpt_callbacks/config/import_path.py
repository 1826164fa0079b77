"""Import paths of functions, such as ``pkg.mod:name``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from ..errors import PolicyError


def find(reference: str) -> Any:
    """Return the object at ``pkg.mod:name``. This imports its module, and so runs code."""
    module, _, name = reference.partition(":")
    return attrgetter(name)(importlib.import_module(module))


def reference_to(function: Callable[..., Any]) -> str:
    """Return the ``pkg.mod:name`` for which `find` returns ``function``.

    Raises:
        PolicyError: The function cannot be imported: a lambda, an inner function, or one of the running script.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    try:
        # A module that runs as __main__ has a different name, or none, when the file is read.
        if module and name and module != "__main__" and find(f"{module}:{name}") is function:
            return f"{module}:{name}"
    except (ImportError, AttributeError):
        pass
    raise PolicyError(
        f"{name or function!r} cannot be written as pkg.mod:fn; expected a function at the top of a module to import"
    )
