"""The names of a callback's arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TypeVar

_Init = TypeVar("_Init", bound=Callable[..., None])


def suggests_names(init: _Init) -> _Init:
    """Make a constructor suggest the right name for a misspelt argument, as Python itself does from 3.13 on.

    Args:
        init: The ``__init__`` of a class. It takes no arbitrary arguments.
    """
    owner, known = init.__qualname__.split(".")[-2], tuple(inspect.signature(init).parameters)[1:]

    @functools.wraps(init)
    def checked(self: object, *arguments: object, **named: object) -> None:
        for name in named:
            if name not in known:
                from .problems import near  # here, because it imports pydantic

                hint = near(name, known) or f"; expected one of {', '.join(known)}"
                raise TypeError(f"{owner}: got an unknown argument {name!r}{hint}")
        init(self, *arguments, **named)

    return checked  # type: ignore[return-value]
