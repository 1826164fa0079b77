"""A check that the private names on which an adapter relies still exist in a framework."""

from __future__ import annotations

import dis
import importlib
import importlib.metadata
import inspect
from collections.abc import Iterable
from typing import Any

from ..errors import MissingDependency

PrivateName = tuple[str, str]  # where it is, as a dotted path, and the name


def check(package: str, requirement: str, names: Iterable[PrivateName]) -> None:
    """Raise a one-line error that lists the missing names.

    Args:
        package: The name of the framework's package on PyPI.
        requirement: The versions that work, as a pip requirement.
        names: The dotted path of a module, class or function, and a name in it: a member, a variable, or an attribute
            that the methods of the class, or the function, set.

    Raises:
        MissingDependency: The installed version lacks one of the names.
    """
    gone = missing(names)
    if gone:
        raise MissingDependency(
            f"{package} {importlib.metadata.version(package)} lacks {', '.join(gone)}, which this version of "
            f'ckpt_callbacks relies on; run `pip install "{requirement}"`'
        )


def missing(names: Iterable[PrivateName]) -> list[str]:
    """Return the dotted paths of the ``names`` that do not exist."""
    return [f"{path}.{name}" for path, name in names if not _has(_resolve(path), name)]


def _resolve(path: str) -> Any:
    """Return the object at a dotted path, None if there is none."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
            for part in parts[length:]:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        return found
    return None


def _has(owner: Any, name: str) -> bool:
    if owner is None:
        return False
    if inspect.isfunction(owner):
        code = inspect.unwrap(owner).__code__
        return name in code.co_varnames or _sets(code, name)
    if hasattr(owner, name):
        return True
    return inspect.isclass(owner) and any(_gives(base, name) for base in owner.__mro__)


def _gives(cls: type, name: str) -> bool:
    """Return whether instances have the name: the class declares it, or one of its methods sets it."""
    if name in inspect.get_annotations(cls):
        return True
    methods = [inspect.unwrap(member) for member in vars(cls).values() if inspect.isfunction(member)]
    return any(_sets(method.__code__, name) for method in methods if inspect.isfunction(method))


def _sets(code: Any, name: str) -> bool:
    # Disassembling is slow, and few methods have the name.
    return name in code.co_names and any(
        step.opname == "STORE_ATTR" and step.argval == name for step in dis.get_instructions(code)
    )
