"""The names of the arguments of a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from .spelling import near

_Call = TypeVar("_Call", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)


def suggests_names(elsewhere: Mapping[str, str] = MappingProxyType({})) -> Callable[[_Call], _Call]:
    """Make a method suggest the right name for a misspelt argument, as Python itself does from 3.13 on.

    Args:
        elsewhere: What to write instead of arguments that have another place here, by name.

    Returns:
        The decorator of a method, such as ``__init__``, that takes no arbitrary arguments.
    """

    def decorated(call: _Call) -> _Call:
        known = tuple(inspect.signature(call).parameters)[1:]
        *_, owner, name = call.__qualname__.split(".")
        called = owner if name == "__init__" else f"{owner}.{name}"

        @functools.wraps(call)
        def checked(self: object, *arguments: object, **named: object) -> Any:
            for given in named:
                if given not in known:
                    if given in elsewhere:
                        hint = f"; instead, write {elsewhere[given]}"
                    else:
                        hint = near(given, known) or f"; expected {_listed(known)}"
                    raise TypeError(f"{called}: got an unknown argument {given!r}{hint}")
            return call(self, *arguments, **named)

        return checked  # type: ignore[return-value]

    return decorated


def suggests_fields(kind: _Class) -> _Class:
    """Make the constructor of a dataclass suggest the right name for a misspelt argument."""
    setattr(kind, "__init__", suggests_names()(vars(kind)["__init__"]))  # noqa: B010 (mypy refuses the assignment)
    return kind


def _listed(known: tuple[str, ...]) -> str:
    return f"one of {', '.join(known)}" if known else "no argument"
