"""The names of the arguments of a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from .spelling import near

_Call = TypeVar("_Call", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)


def suggests_names(
    elsewhere: Mapping[str, str] = MappingProxyType({}), hidden: Collection[str] = ()
) -> Callable[[_Call], _Call]:
    """Make a method suggest the right name for a misspelt argument, as Python itself does from 3.13 on.

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
            for given in named:
                if given not in known:
                    if given in elsewhere:
                        hint = f"; instead, write {elsewhere[given]}"
                    else:
                        offered = tuple(parameter.name for parameter in shown[1:])
                        hint = near(given, offered) or f"; expected {_listed(offered)}"
                    raise TypeError(f"{called}: got an unknown argument {given!r}{hint}")
            return call(self, *arguments, **named)

        checked.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
        return checked  # type: ignore[return-value]

    return decorated


def suggests_fields(kind: _Class) -> _Class:
    """Make the constructor of a dataclass suggest the right name for a misspelt argument."""
    setattr(kind, "__init__", suggests_names()(vars(kind)["__init__"]))  # noqa: B010 (mypy refuses the assignment)
    return kind


def _listed(known: tuple[str, ...]) -> str:
    return f"one of {', '.join(known)}" if known else "no argument"
