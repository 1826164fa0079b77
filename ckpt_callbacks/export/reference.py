"""The model that ``--model`` names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

from ..errors import ExportError, first_line


def find(reference: str, usual: str | None) -> Any:
    """Return the object that a reference names. This imports its module, and so runs code.

    Args:
        reference: ``package.module:Name`` or ``file.py:Name``; the name may be left out if ``usual`` is known.
        usual: The name of the class that wrote the checkpoint, if it is known.

    Raises:
        ExportError: There is no such module, or no such name in it.
    """
    module, _, name = reference.partition(":")
    name = name or usual or ""
    if not module or not name:
        raise ExportError(f"--model is {reference!r}; expected package.module:Class, or file.py:Class")
    found = imported(module)
    try:
        return attrgetter(name)(found)
    except AttributeError:
        raise ExportError(f"--model {reference}: {module} has no {name!r}; expected a class or a function") from None


def imported(module: str) -> Any:
    """Return the module of a name or a file. This runs its code.

    Raises:
        ExportError: It cannot be imported.
    """
    try:
        with _here_first():
            return _module(module)
    except Exception as error:  # whatever the module's code raises
        raise ExportError(f"--model: {module} cannot be imported: {_said(error)}") from error


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # as an import would; some classes look for their module
    spec.loader.exec_module(module)
    return module


@contextmanager
def _here_first() -> Iterator[None]:
    """Import from the current folder first, as a script in it would."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _said(error: Exception) -> str:
    return first_line(error) if isinstance(error, ImportError | FileNotFoundError) else repr(error)
