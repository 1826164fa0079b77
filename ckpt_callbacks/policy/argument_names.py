"""The names of the arguments of a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from .spelling import near

_Call = TypeVar("_Call", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)


def suggests_names(
    elsewhere: Mapping[str, str] = MappingProxyType({}), hidden: Collection[str] = ()
) -> Callable[[_Call], _Call]:
    """Make a method suggest the right name for each misspelt argument, as Python does for the first one from 3.13 on.

    Args:
        elsewhere: What to write instead of arguments that have another place here, by name.
        hidden: Arguments for tests, which the signature does not show, for example in the help of LightningCLI.

    Returns:
        The decorator of a method, such as ``__init__``, that takes no arbitrary arguments.
    """

    def decorated(call: _Call) -> _Call:
        signature = inspect.signature(call)
        known, shown = (
            tuple(signature.parameters)[1:],
            [p for p in signature.parameters.values() if p.name not in hidden],
        )
        *_, owner, name = call.__qualname__.split(".")
        called = owner if name == "__init__" else f"{owner}.{name}"

        @functools.wraps(call)
        def checked(self: object, *arguments: object, **named: object) -> Any:
            if unknown := [given for given in named if given not in known]:
                offered = tuple(parameter.name for parameter in shown[1:])
                raise TypeError(f"{called}: got {_corrected(unknown, elsewhere, offered)}")
            return call(self, *arguments, **named)

        checked.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
        return checked  # type: ignore[return-value]

    return decorated


def taken_by(other: type) -> dict[str, str]:
    """Return what to write instead of arguments that belong to another class, for `suggests_names`.

    A misspelt name of the directory or of a file is left to the similar names of the class itself.
    """
    names = inspect.signature(other).parameters
    return {name: f"{other.__name__}(..., {name}=...)" for name in names if name not in ("dirpath", "filename")}


def suggests_fields(kind: _Class) -> _Class:
    """Make the constructor of a dataclass suggest the right name for a misspelt argument."""
    setattr(kind, "__init__", suggests_names()(vars(kind)["__init__"]))  # noqa: B010 (mypy refuses the assignment)
    return kind


def _corrected(unknown: Sequence[str], elsewhere: Mapping[str, str], offered: tuple[str, ...]) -> str:
    """Return the end of a message about arguments that a call does not take, with what to write instead of each."""

    def hint(given: str) -> str:
        return f"; instead, write {elsewhere[given]}" if given in elsewhere else near(given, offered)

    expected = "" if all(map(hint, unknown)) else f"; expected {_listed(offered)}"
    if len(unknown) == 1:
        return f"an unknown argument {unknown[0]!r}{hint(unknown[0])}{expected}"
    hints = (f" ({hint(given).removeprefix('; ')})" if hint(given) else "" for given in unknown)
    return f"unknown arguments: {', '.join(f'{g!r}{h}' for g, h in zip(unknown, hints, strict=True))}{expected}"


def _listed(known: tuple[str, ...]) -> str:
    return f"one of {', '.join(known)}" if known else "no argument"
